"""Decoding: what is kept, what is masked again, and what a result may depend on.

Most tests use a table of logits as the model.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssenv_core.base.errors import SsenvError
from ssenv_core.soundstorm.decoding import _sample, decode
from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.masking import keep_outside, num_masked
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig
from ssenv_core.soundstorm.sampling import Confidence, HaltonOrder, RandomOrder, Sampling

CLASSES = 4


class TableModel:
    """Logits from a table (Q, T, K), whatever the codes; without a class from `null_table`.

    It records its inputs.
    """

    training = False

    def __init__(self, table, null_table=None, prompts=False):
        n_q, _, size = table.shape
        self.config = SimpleNamespace(
            n_q=n_q,
            codebook_size=size,
            num_classes=CLASSES,
            mask_token=size,
            null_label=CLASSES,
            prompts=prompts,
        )
        self.tables = torch.stack((table, table if null_table is None else null_table))
        self.calls = []  # (level, codes, labels, controls)

    def __call__(self, inputs):
        assert not torch.is_grad_enabled()
        codes, labels, _, controls = inputs
        self.shown = codes.clone(), labels.clone(), controls
        null = (labels == CLASSES).long()[:, None].expand(-1, codes.shape[-1])
        return torch.stack((null, torch.arange(codes.shape[-1]).expand_as(null)), dim=-1)

    def logits(self, hidden, level):
        self.calls.append((level, *self.shown))
        return self.tables[hidden[..., 0], level, hidden[..., 1]]


def blank(items, n_q, n_frames):
    """Codes to start plain generation from, and what is given of them: nothing."""
    return torch.zeros(items, n_q, n_frames, dtype=torch.int64), torch.zeros(
        1, n_q, n_frames, dtype=torch.bool
    )


def generate(model, n_frames, seeds, record=False, **settings):
    """Plain generation of one item per seed, class 0."""
    labels = torch.zeros(len(seeds), dtype=torch.int64)
    codes, given = blank(len(seeds), model.config.n_q, n_frames)
    inputs = Inputs(codes, labels)
    return decode(model, inputs, given, Sampling(**settings), seeds=seeds, record=record)


@st.composite
def decodings(draw):
    """A random problem (given tokens, padding, steps, guidance) and its recorded solution."""
    items, n_q, n_frames, size = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 25)),
        draw(st.integers(2, 9)),
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    codes = torch.randint(size, (items, n_q, n_frames), generator=generator)
    share = draw(st.sampled_from([0.0, 0.4, 0.9]))
    given = torch.rand(items, n_q, n_frames, generator=generator) < share
    padding = None
    if draw(st.booleans()):
        padding = torch.arange(n_frames) >= torch.randint(
            n_frames + 1, (items, 1), generator=generator
        )
    steps = tuple(draw(st.lists(st.integers(1, 12), min_size=n_q, max_size=n_q)))
    model = TableModel(*torch.randn(2, n_q, n_frames, size, generator=generator))
    labels = torch.tensor(draw(st.lists(st.integers(0, CLASSES), min_size=items, max_size=items)))
    seeds = draw(st.lists(st.integers(0, 2**63 - 1), min_size=items, max_size=items))
    sampling = Sampling(
        steps,
        temperature=draw(st.sampled_from([0.0, 1.0])),
        guidance=draw(st.sampled_from([1.0, 2.0])),
        guidance_schedule=draw(st.sampled_from(["constant", "rising", "falling"])),
        top_k=draw(st.sampled_from([None, 2])),
        sampler=draw(
            st.sampled_from([Confidence(0.0), Confidence(4.5), HaltonOrder(), RandomOrder()])
        ),
    )
    decoded = decode(
        model, Inputs(codes, labels, padding=padding), given, sampling, seeds=seeds, record=True
    )
    return SimpleNamespace(
        model=model,
        codes=codes,
        given=given,
        padding=padding,
        labels=labels,
        sampling=sampling,
        seeds=seeds,
        fixed=given if padding is None else given | padding[:, None],
        steps=steps,
        result=decoded.codes,
        trace=decoded.trace,
        mask=model.config.mask_token,
    )


@settings(deadline=None, max_examples=50)
@given(decodings())
def test_kept_tokens_never_change(problem):
    known = problem.codes.masked_fill(~problem.fixed, problem.mask)
    for level, _, codes, _, _ in problem.trace:
        before, now = known[:, level], codes[:, level]
        assert torch.equal(now[before != problem.mask], before[before != problem.mask])
        known[:, level] = now
    assert torch.equal(known, problem.result)


@settings(deadline=None, max_examples=50)
@given(decodings())
def test_each_iteration_leaves_exactly_its_share_masked_and_the_last_nothing(problem):
    for level, i, codes, masked, free in problem.trace:
        assert torch.equal(free, ~problem.fixed[:, level])
        n, free = problem.steps[level], ~problem.fixed[:, level]
        assert masked.sum(dim=1).tolist() == [
            num_masked(total, i, n) for total in free.sum(dim=1).tolist()
        ]
        assert torch.equal(codes[:, level] == problem.mask, masked)
        assert not (masked & ~free).any()
        assert i < n or not masked.any()
    assert ((problem.result >= 0) & (problem.result < problem.mask)).all()


@settings(deadline=None, max_examples=50)
@given(decodings())
def test_levels_come_in_order_each_with_all_its_iterations(problem):
    wanted = [
        (q, i)
        for q, n in enumerate(problem.steps)
        if not problem.fixed[:, q].all()
        for i in range(1, n + 1)
    ]
    assert [(level, i) for level, i, *_ in problem.trace] == wanted
    assert [level for level, *_ in problem.model.calls] == [level for level, _ in wanted]


@settings(deadline=None, max_examples=50)
@given(decodings())
def test_model_sees_finished_levels_and_nothing_of_levels_not_yet_decoded(problem):
    for level, codes, *_ in problem.model.calls:
        codes = codes[: len(problem.codes)]
        assert torch.equal(codes[:, :level], problem.result[:, :level])
        assert (codes[:, level + 1 :] == problem.mask).all()
    for level, _, codes, _, _ in problem.trace:
        assert (codes[:, level + 1 :] == problem.mask).all()


def test_a_model_trained_with_prompts_sees_all_levels_of_frames_given_whole():
    codes = torch.ones(1, 3, 6, dtype=torch.int64)
    given = torch.zeros(1, 3, 6, dtype=torch.bool)
    given[..., :2] = True
    given[:, 2, 4] = True  # given at one level only: hidden until its level
    for prompts, visible in ((False, 0), (True, 2)):
        model = TableModel(torch.zeros(3, 6, 3), prompts=prompts)
        decode(
            model,
            Inputs(codes, torch.zeros(1, dtype=torch.int64)),
            given,
            Sampling((2, 1, 1)),
            seeds=[0],
        )
        _, first, *_ = model.calls[0]
        shown = first[0, 1:] != model.config.mask_token
        assert torch.equal(shown, (torch.arange(6) < visible).expand(2, 6))


@settings(deadline=None, max_examples=50)
@given(decodings())
def test_given_tokens_and_padding_come_back_verbatim(problem):
    assert torch.equal(problem.result[problem.fixed], problem.codes[problem.fixed])


@settings(deadline=None, max_examples=50)
@given(decodings(), st.randoms(use_true_random=False))
def test_an_item_is_its_seeds_whatever_is_decoded_with_it_and_in_whatever_place(problem, random):
    """The table's logits are exact in any batch, so that nothing but the decoding can differ."""
    order = list(range(len(problem.codes))) * 2
    random.shuffle(order)
    for chosen in (order, order[:1]):
        again = decode(
            problem.model,
            Inputs(
                problem.codes[chosen],
                problem.labels[chosen],
                padding=None if problem.padding is None else problem.padding[chosen],
            ),
            problem.given[chosen],
            problem.sampling,
            seeds=[problem.seeds[item] for item in chosen],
        ).codes
        assert torch.equal(again, problem.result[chosen])


def test_most_confident_sampled_tokens_are_kept():
    """Code 0 is the surer one, and is sampled at 60 % of the frames.

    All kept codes must be 0, although code 1 was sampled at the others.
    """
    table = torch.tensor([0.6, 0.4]).log().expand(1, 400, 2)
    first = generate(
        TableModel(table), 400, [0], steps=(2,), sampler=Confidence(0.0), record=True
    ).trace[0]
    kept = first.codes[0, 0][~first.masked[0]]
    assert len(kept) == 400 - num_masked(400, 1, 2)
    assert (kept == 0).all()


def test_frames_are_kept_in_the_order_of_their_confidence():
    certainty = torch.rand(200, generator=torch.Generator().manual_seed(0)) * 5
    table = torch.stack((certainty, torch.zeros(200)), dim=-1)[None]
    trace = generate(
        TableModel(table),
        200,
        [0],
        steps=(8,),
        temperature=0.0,
        sampler=Confidence(0.0),
        record=True,
    ).trace
    for _, _, _, masked, _ in trace[:-1]:
        assert certainty[masked[0]].max() < certainty[~masked[0]].min()


def test_confidence_is_that_of_the_iteration_and_not_of_an_earlier_one():
    """The model is surest of the first frames, and from the second iteration on of the last."""
    rising = torch.linspace(1, 5, 20)
    model = TableModel(torch.stack((rising.flip(0), torch.zeros(20)), dim=-1)[None])

    def then(hidden, level, first=model.logits):
        logits = first(hidden, level)
        model.tables = torch.stack((rising, torch.zeros(20)), dim=-1).expand(2, 1, 20, 2)
        return logits

    model.logits = then
    one, two, *_ = generate(
        model, 20, [0], steps=(4,), temperature=0.0, sampler=Confidence(0.0), record=True
    ).trace
    a, b = ((~step.masked[0]).sum().item() for step in (one, two))
    assert (~one.masked[0]).nonzero().flatten().tolist() == list(range(a))
    assert (~two.masked[0]).nonzero().flatten().tolist() == [*range(a), *range(20 - (b - a), 20)]


def test_noise_in_what_is_kept_is_annealed():
    """The share of kept tokens that would be kept without noise rises.

    It is small at first, and almost 1 just before the last iteration.
    """
    certainty = torch.linspace(0, 4, 4000)
    table = torch.stack((certainty, torch.zeros(4000)), dim=-1)[None]
    before, agreement = torch.ones(4000, dtype=torch.bool), []
    for step in generate(
        TableModel(table),
        4000,
        [0],
        steps=(10,),
        temperature=0.0,
        sampler=Confidence(0.5),
        record=True,
    ).trace[:-1]:
        kept = before & ~step.masked[0]
        surest = certainty.masked_fill(~before, -1).topk(int(kept.sum())).indices
        agreement.append(kept[surest].float().mean().item())
        before = step.masked[0]
    assert agreement[0] < 0.3
    assert agreement[-1] > 0.8


def test_choice_noise_makes_seeds_differ_and_its_absence_makes_them_agree():
    table = torch.stack((torch.linspace(0, 1, 50), torch.zeros(50)), dim=-1)[None]
    kept = {}
    for weight in (0.0, 4.5):
        first = generate(
            TableModel(table),
            50,
            [0, 1],
            steps=(3,),
            temperature=0.0,
            sampler=Confidence(weight),
            record=True,
        ).trace[0]
        kept[weight] = torch.equal(first.masked[0], first.masked[1])
    assert kept == {0.0: True, 4.5: False}


@pytest.mark.parametrize("sampler", [HaltonOrder(), RandomOrder()])
def test_a_fixed_order_does_not_heed_confidence_and_differs_from_seed_to_seed(sampler):
    certainty = torch.rand(2, 60, generator=torch.Generator().manual_seed(0)) * 5
    traces = [
        generate(
            TableModel(torch.stack((c, 0 * c), dim=-1)[None]),
            60,
            [0, 1],
            steps=(6,),
            sampler=sampler,
            record=True,
        ).trace
        for c in certainty
    ]
    for one, two in zip(*traces, strict=True):
        assert torch.equal(one.masked, two.masked)
    assert not torch.equal(traces[0][0].masked[0], traces[0][0].masked[1])


@pytest.mark.parametrize("frames", [7, 60, 375])
def test_halton_keeps_frames_that_are_spread_evenly(frames):
    """No gap between kept frames exceeds about twice the mean gap; in a random order some do."""
    trace = generate(
        TableModel(torch.zeros(1, frames, 3)),
        frames,
        [0, 1, 2],
        steps=(8,),
        sampler=HaltonOrder(),
        record=True,
    ).trace
    for step in trace:
        for masked in step.masked:
            kept = (~masked).nonzero()[:, 0]
            gaps = torch.diff(torch.cat((kept, kept[:1] + frames)))
            assert all(gaps <= 2 * frames / max(1, len(kept)) + 2)


def test_halton_spreads_over_the_tokens_to_fill_in_alone():
    """Every second frame is given: of the others, every other one is kept when half of them are."""
    codes, _ = blank(1, 1, 32)
    given = (torch.arange(32) % 2 == 0)[None, None]
    trace = decode(
        TableModel(torch.zeros(1, 32, 3)),
        Inputs(codes, torch.tensor([0])),
        given,
        Sampling((3,), sampler=HaltonOrder()),
        seeds=[0],
        record=True,
    ).trace
    half = trace[1]
    assert int(half.masked.sum()) == 8
    assert torch.diff((half.masked[0]).nonzero()[:, 0]).tolist() == [4] * 7


@pytest.mark.parametrize("sampler", [Confidence(), HaltonOrder(), RandomOrder()])
def test_a_level_given_whole_draws_nothing_where_another_item_has_to_decode_it(sampler):
    """What the item draws at its next level would else depend on the company it is in."""
    codes, given = blank(1, 2, 12)[0].expand(2, -1, -1), torch.zeros(2, 2, 12, dtype=torch.bool)
    given[0, 0] = True
    settings = Sampling((3, 3), sampler=sampler)
    together, alone = (
        decode(
            TableModel(torch.zeros(2, 12, 9)),
            Inputs(codes[:n], torch.zeros(n, dtype=torch.int64)),
            given[:n],
            settings,
            seeds=[5, 6][:n],
        ).codes
        for n in (2, 1)
    )
    assert torch.equal(together[:1], alone)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [3, 3, 3, 3]), ("rising", [1.5, 2, 2.5, 3]), ("falling", [3, 2.5, 2, 1.5])],
)
def test_guidance_follows_its_schedule_within_a_level(schedule, expected):
    sampling = Sampling((4,), guidance=3.0, guidance_schedule=schedule)
    assert [sampling.guidance_at(i, 4) for i in range(1, 5)] == expected
    assert sampling.guidance_at(1, 1) == 3.0


def test_guidance_of_each_iteration_reaches_the_logits():
    """Codes 0, 1, 2 are the likeliest below, around and above guidance 2.

    All samples are greedy, in 4 iterations.
    """
    null, conditional = torch.tensor([3.0, 2.2, 0.0]), torch.tensor([1.0, 2.5, 1.0])
    tables = {
        name: TableModel(conditional.expand(1, 40, 3), null.expand(1, 40, 3))
        for name in ("rising", "falling")
    }
    settings = {"steps": (4,), "temperature": 0.0, "guidance": 6.0, "record": True}
    for name, model in tables.items():
        first = generate(model, 40, [0], guidance_schedule=name, **settings).trace[0]
        kept = first.codes[0, 0][~first.masked[0]]
        assert kept.unique().tolist() == [1 if name == "rising" else 2]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_level_of_one_step_is_sampled_like_any_other(steps):
    table = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().expand(2, 5000, 4)
    codes = generate(TableModel(table), 5000, [0], steps=(3, steps), sampler=Confidence(1e6)).codes[
        0, 1
    ]
    assert (codes.bincount(minlength=4) / 5000).tolist() == pytest.approx(
        [0.4, 0.3, 0.2, 0.1], abs=0.03
    )


@pytest.mark.parametrize(
    "greedy", [{"temperature": 0.0}, {"temperature": (0.0,)}, {"top_k": 1}, {"top_p": 1e-4}]
)
def test_sampling_can_be_narrowed_down_to_the_likeliest_code(greedy):
    table = torch.randn(1, 30, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        generate(TableModel(table), 30, [3], steps=(4,), **greedy).codes[0, 0], table[0].argmax(-1)
    )


@pytest.mark.parametrize(
    ("narrow", "expected"),
    [
        ({}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 0.5}, [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_k": 100}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_p": 0.65}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.75}, [4 / 9, 3 / 9, 2 / 9, 0]),
        ({"top_p": 1.0}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_p": 0.9, "top_k": 1}, [1, 0, 0, 0]),
    ],
)
def test_tokens_are_sampled_from_the_tempered_and_narrowed_distribution(narrow, expected):
    """Overwhelming choice noise keeps frames at random, so that the kept codes are fair samples."""
    order = [2, 0, 3, 1]  # the codes do not come in the order of their probability
    table = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()[order].expand(1, 5000, 4)
    codes = generate(
        TableModel(table), 5000, [0], steps=(2,), sampler=Confidence(1e6), **narrow
    ).codes[0, 0]
    share = codes.bincount(minlength=4) / 5000
    assert share.tolist() == pytest.approx([expected[i] for i in order], abs=0.03)
    assert all(share[code] == 0 for code, i in enumerate(order) if expected[i] == 0)


def test_a_code_of_no_probability_is_not_drawn_by_the_least_and_the_largest_number():
    class Extremes:
        def uniform(self, counts):
            return torch.tensor([0.0, 1 - 2**-24]).repeat(counts[0] // 2)

    logits = torch.full((400, 8), -torch.inf)
    logits[:, [1, 4, 6]] = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    drawn = _sample(logits, 1.0, None, None, Extremes(), [400])
    assert drawn.view(-1, 2).unique(dim=0).tolist() == [[6, 1]]


def test_temperature_can_differ_by_level():
    table = torch.randn(2, 60, 8, generator=torch.Generator().manual_seed(0))
    codes = generate(TableModel(table), 60, [0], steps=(3, 3), temperature=(1.0, 0.0)).codes[0]
    assert torch.equal(codes[1], table[1].argmax(-1))
    assert not torch.equal(codes[0], table[0].argmax(-1))


def test_guidance_1_asks_the_model_once_with_the_label_alone():
    model = TableModel(torch.zeros(1, 5, 3))
    generate(model, 5, [0, 1], steps=(2,), guidance=1.0)
    assert [labels.tolist() for _, _, labels, _ in model.calls] == [[0, 0]] * 2


def test_guidance_shows_the_same_codes_once_told_nothing_and_once_told_all():
    model, asked = TableModel(torch.zeros(1, 5, 3)), torch.rand(2, 5, 2)
    codes, given = blank(2, 1, 5)
    inputs = Inputs(codes, torch.tensor([0, 3]), controls=asked)
    decode(model, inputs, given, Sampling((2,), guidance=2.0), seeds=[0, 1])
    for _, codes, labels, controls in model.calls:
        assert labels.tolist() == [CLASSES, CLASSES, 0, 3]
        assert torch.equal(codes[:2], codes[2:])
        assert controls[:2].isnan().all()
        assert torch.equal(controls[2:], asked)


@pytest.mark.parametrize(("guidance", "code"), [(0.0, 0), (0.5, 1), (1.0, 1), (2.0, 1), (4.0, 2)])
def test_guided_logits_move_from_null_through_conditional_and_beyond(guidance, code):
    """null + g (conditional - null) of codes 0, 1, 2 is (3 - 2g, 2.2 + 0.3g, g).

    Each is the largest in its own range of g.
    """
    null, conditional = torch.tensor([3.0, 2.2, 0.0]), torch.tensor([1.0, 2.5, 1.0])
    model = TableModel(conditional.expand(1, 5, 3), null.expand(1, 5, 3))
    assert generate(
        model, 5, [0], steps=(1,), temperature=0.0, guidance=guidance
    ).codes.unique().tolist() == [code]


def test_guidance_is_undone_where_the_label_is_null():
    torch.manual_seed(0)
    model = TableModel(torch.randn(1, 20, 5), torch.randn(1, 20, 5))
    codes, given = blank(1, 1, 20)
    inputs = Inputs(codes, torch.tensor([CLASSES]))
    one, three = (
        decode(model, inputs, given, Sampling((4,), guidance=g), seeds=[0]).codes
        for g in (1.0, 3.0)
    )
    assert torch.equal(one, three)


def test_level_that_is_given_costs_no_pass_of_the_model():
    model = TableModel(torch.zeros(2, 5, 3))
    codes = torch.ones(1, 2, 5, dtype=torch.int64)
    given = torch.tensor([True, False])[None, :, None].expand(1, 2, 5)
    decode(
        model, Inputs(codes, torch.zeros(1, dtype=torch.int64)), given, Sampling((4, 3)), seeds=[0]
    )
    assert [level for level, *_ in model.calls] == [1] * 3


@pytest.fixture(scope="module")
def model():
    """A tiny SoundStorm whose untrained heads have opinions strong enough to differ."""
    torch.manual_seed(0)
    model = SoundStorm(
        SoundStormConfig(
            n_q=3, codebook_size=16, num_classes=CLASSES, dim=32, depth=1, heads=2, kernel_size=5
        )
    ).eval()
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.3)
    return model


SETTINGS = {"steps": (5, 2, 1), "guidance": 2.0, "top_p": 0.95}
SAMPLING = Sampling(**SETTINGS)


def test_same_seed_same_codes_and_another_seed_others(model):
    one, two = (generate(model, 20, [7, 7, 8], **SETTINGS).codes for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(one[0], one[1])
    assert not torch.equal(one[0], one[2])


def test_the_global_generator_is_neither_used_nor_moved(model):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = generate(model, 20, [7], **SETTINGS).codes
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(generate(model, 20, [7], **SETTINGS).codes, one)


SAMPLERS = [Confidence(4.5), HaltonOrder(), RandomOrder()]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_item_is_independent_of_its_batch(model, sampler):
    sampling = Sampling(**SETTINGS, sampler=sampler)
    codes, _ = blank(3, 3, 20)
    codes += torch.arange(3)[:, None, None]
    given = torch.cat(
        (keep_outside(3, 20, 0, 20), keep_outside(3, 20, 4, 9), keep_outside(3, 20, 7, 8))
    )
    labels = torch.tensor([0, CLASSES, 2])
    together = decode(model, Inputs(codes, labels), given, sampling, seeds=[1, 2, 3]).codes
    for b in range(3):
        one = slice(b, b + 1)
        assert torch.equal(
            decode(
                model, Inputs(codes[one], labels[one]), given[one], sampling, seeds=[b + 1]
            ).codes,
            together[one],
        )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_padding_changes_nothing_in_the_item(model, sampler):
    sampling = Sampling(**SETTINGS, sampler=sampler)
    codes, given = blank(2, 3, 20)
    codes[:, :, 12:] = 5
    padding = (torch.arange(20) >= 12).expand(2, 20)
    labels = torch.tensor([0, 1])
    padded = decode(
        model, Inputs(codes, labels, padding=padding), given, sampling, seeds=[1, 2]
    ).codes
    short, none = blank(2, 3, 12)
    alone = decode(model, Inputs(short, labels), none, sampling, seeds=[1, 2]).codes
    assert torch.equal(padded[..., :12], alone)
    codes[:, :, 12:] = 9
    assert torch.equal(
        decode(model, Inputs(codes, labels, padding=padding), given, sampling, seeds=[1, 2]).codes[
            ..., :12
        ],
        padded[..., :12],
    )


def test_class_and_prompt_reach_the_result(model):
    codes, given = blank(1, 3, 20)
    plain = decode(model, Inputs(codes, torch.tensor([0])), given, SAMPLING, seeds=[1]).codes
    assert not torch.equal(
        decode(model, Inputs(codes, torch.tensor([1])), given, SAMPLING, seeds=[1]).codes, plain
    )
    prompt = keep_outside(3, 20, 5, 20)
    one, two = (
        decode(model, Inputs(codes + c, torch.tensor([0])), prompt, SAMPLING, seeds=[1]).codes[
            ..., 5:
        ]
        for c in (3, 11)
    )
    assert not torch.equal(one, two)


def test_controls_reach_the_result_guided_or_not():
    torch.manual_seed(0)
    config = SoundStormConfig(
        n_q=3,
        codebook_size=16,
        num_classes=CLASSES,
        dim=32,
        depth=1,
        heads=2,
        kernel_size=5,
        controls=True,
    )
    model = SoundStorm(config).eval()
    torch.nn.init.normal_(model.control_embedding.rows.weight)
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.3)
    codes, given = blank(2, 3, 20)
    labels, asked = (
        torch.tensor([0, 1]),
        torch.rand(2, 20, 2, generator=torch.Generator().manual_seed(0)),
    )
    for guidance in (1.0, 2.0):
        sampling = Sampling((5, 2, 1), guidance=guidance)
        plain, controlled = (
            decode(model, Inputs(codes, labels, controls=c), given, sampling, seeds=[1, 2]).codes
            for c in (None, asked)
        )
        assert not torch.equal(plain[0], controlled[0])
        one = decode(
            model, Inputs(codes[1:], labels[1:], controls=asked[1:]), given, sampling, seeds=[2]
        ).codes
        assert torch.equal(one[0], controlled[1])


def test_recording_changes_nothing_and_results_serve_in_training(model):
    plain, recorded = (
        generate(model, 20, [1], record=record, **SETTINGS) for record in (False, True)
    )
    assert torch.equal(plain.codes, recorded.codes)
    assert plain.trace == []
    loss = model(Inputs(plain.codes, torch.tensor([0]))).sum()
    loss.backward()
    model.zero_grad()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"steps": (4,)}, "steps"),
        ({"steps": (4, 0, 1)}, "steps"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": (1.0, 1.0)}, "temperature"),
        ({"guidance": float("nan")}, "guidance"),
        ({"guidance": float("inf")}, "guidance"),
        ({"temperature": (1.0, float("nan"), 1.0)}, "temperature"),
        ({"guidance_schedule": "annealed"}, "guidance_schedule"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(model, setting, named):
    with pytest.raises(SsenvError, match=named):
        generate(model, 6, [0], **{"steps": (2, 1, 1), **setting})


def test_choice_noise_below_none_is_refused():
    with pytest.raises(SsenvError, match="choice_temperature"):
        Confidence(-1.0)


def test_tensors_that_do_not_fit_are_refused(model):
    codes, given = blank(2, 3, 6)
    inputs, sampling = Inputs(codes, torch.tensor([0, 1])), Sampling((2, 1, 1))
    decode(model, inputs, given, sampling, seeds=[0, 1])
    for wrong in (
        {"codes": codes[:, :2]},
        {"labels": torch.tensor([0])},
        {"padding": torch.zeros(2, 5, dtype=torch.bool)},
        {"controls": torch.zeros(2, 6, 1)},
    ):
        with pytest.raises(ValueError, match=r"codes|items"):
            decode(model, inputs._replace(**wrong), given, sampling, seeds=[0, 1])
    with pytest.raises(ValueError, match="given"):
        decode(model, inputs, given[..., :5], sampling, seeds=[0, 1])
    with pytest.raises(ValueError, match="seeds"):
        decode(model, inputs, given, sampling, seeds=[0])


def test_a_mask_token_cannot_be_given_and_dropout_must_be_off(model):
    codes, given = blank(1, 3, 6)
    with pytest.raises(ValueError, match="mask token"):
        decode(model, Inputs(codes + 16, torch.tensor([0])), ~given, Sampling((1, 1, 1)), seeds=[0])
    with pytest.raises(ValueError, match="eval"):
        generate(SoundStorm(model.config), 6, [0], steps=(1, 1, 1))


def test_settings_of_a_recipe_make_the_sampling_that_wrote_them():
    recipe = {
        "class": "dog",
        "steps": [12, 1],
        "temperature": [1.0, 0.5],
        "guidance": 2.0,
        "guidance_schedule": "rising",
        "top_k": None,
    }
    recipe |= {"top_p": 0.9, "sampler": "confidence", "choice_temperature": 8.0}
    wanted = Sampling((12, 1), (1.0, 0.5), 2.0, "rising", None, 0.9, Confidence(8.0))
    assert Sampling.of(recipe) == wanted
    assert Sampling.of({**recipe, "sampler": "halton", "temperature": 0.7}) == replace(
        wanted, temperature=0.7, sampler=HaltonOrder()
    )
    with pytest.raises(SsenvError, match="'greedy' must be one of"):
        Sampling.of({**recipe, "sampler": "greedy"})
    for sampler in (Confidence(3.0), HaltonOrder(), RandomOrder()):
        chosen = replace(wanted, sampler=sampler)
        assert Sampling.of(json.loads(json.dumps(chosen.settings()))) == chosen
