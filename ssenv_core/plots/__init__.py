"""The study's figures and tables: arrays in, plotly figures and pandas styles out."""
