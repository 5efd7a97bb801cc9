"""The arena: buffers that live at the same time never share a byte, and little is wasted."""

from hypothesis import given
from hypothesis import strategies as st

from alula.codegen.arena import ALIGNMENT, Lifetime, plan_arena

lifetimes = st.lists(
    st.builds(
        lambda size, first, length: Lifetime(size, first, first + length),
        st.integers(0, 5000),
        st.integers(0, 12),
        st.integers(0, 6),
    ),
    max_size=25,
)


def together(one, other):
    return one.first <= other.last and other.first <= one.last


@given(lifetimes)
def test_living_buffers_are_disjoint_and_aligned(lives):
    offsets, total = plan_arena(lives)
    places = [(life, offset, offset + life.bytes) for life, offset in zip(lives, offsets, strict=True)]
    for number, (life, start, end) in enumerate(places):
        assert start % ALIGNMENT == 0
        assert end <= total
        for other, first, last in places[:number]:
            assert not together(life, other) or end <= first or last <= start or start == end or first == last


@given(lifetimes)
def test_the_arena_is_within_the_sum_and_above_the_peak(lives):
    _, total = plan_arena(lives)
    padded = [-(-life.bytes // ALIGNMENT) * ALIGNMENT for life in lives]
    peaks = [
        sum(size for life, size in zip(lives, padded, strict=True) if life.first <= t <= life.last) for t in range(20)
    ]
    assert max(peaks) <= total <= sum(padded)


def test_a_chain_needs_two_buffers():
    chain = [Lifetime(640, step, step + 1) for step in range(10)]
    assert plan_arena(chain)[1] == 2 * 640


def test_a_gap_that_is_too_small_is_passed_over():
    lives = [Lifetime(320, 0, 1), Lifetime(256, 1, 2), Lifetime(192, 2, 2), Lifetime(192, 2, 2)]
    assert plan_arena(lives)[0] == [0, 320, 0, 576]


def test_nothing_needs_nothing():
    assert plan_arena([]) == ([], 0)
