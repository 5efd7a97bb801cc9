"""Random convolutions that may suit Winograd's algorithm."""

from hypothesis import strategies as st


@st.composite
def shapes(draw, smallest, largest, parts):
    """Sizes, channels and features of all groups, the pads, and groups, of up to `parts` times 16 channels each."""
    groups = draw(st.integers(1, 3))
    sizes = [draw(st.integers(smallest, largest)) for _ in range(2)]
    channels, features = 16 * draw(st.integers(1, parts)), draw(st.integers(1, 160))
    return *sizes, groups * channels, groups * features, tuple(draw(st.integers(0, 2)) for _ in range(4)), groups
