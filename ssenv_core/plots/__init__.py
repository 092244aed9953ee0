"""The study's figures: tables and arrays in, `plotly.graph_objects.Figure` out, and one function that writes a figure to disk."""
