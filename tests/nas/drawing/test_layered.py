"""Boxes apart, lines downwards, chains upright."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.drawing.layered import GAP, Layout, layered

SIZE = (100.0, 40.0)
RESIDUAL = [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4)]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    count = draw(st.integers(1, 14))
    sizes = [
        (draw(st.sampled_from((40, 90, 150.5))), draw(st.sampled_from((20, 55))))
        for _ in range(count)
    ]
    pairs = list(combinations(range(count), 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=30)) if pairs else []
    return sizes, edges


def corners(sizes: list[tuple[float, float]], layout: Layout) -> list[tuple[float, ...]]:
    return [
        (x - width / 2, y, x + width / 2, y + height)
        for (width, height), (x, y) in zip(sizes, layout.centers, strict=True)
    ]


@given(graphs())
def test_boxes_keep_apart_and_inside(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = graph
    layout = layered(sizes, edges)
    boxes = corners(sizes, layout)
    for left, top, right, bottom in boxes:
        assert left >= -0.2
        assert top >= 0
        assert right <= layout.width + 0.2
        assert bottom <= layout.height + 0.2
    for one, other in combinations(boxes, 2):
        beside = one[2] <= other[0] + 0.2 or other[2] <= one[0] + 0.2
        assert beside or one[3] <= other[1] or other[3] <= one[1]


@given(graphs())
def test_a_line_goes_down_from_one_box_to_the_other_through_no_third(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = graph
    layout = layered(sizes, edges)
    assert set(layout.routes) == set(edges)
    boxes = corners(sizes, layout)
    for (source, target), points in layout.routes.items():
        assert points[0] == (layout.centers[source][0], boxes[source][3])
        assert points[-1][1] == layout.centers[target][1]
        assert boxes[target][0] <= points[-1][0] <= boxes[target][2]
        for (x, y), (next_x, next_y) in pairwise(points):
            assert y <= next_y
            if x != next_x or y == next_y:
                continue
            for node in set(range(len(sizes))) - {source, target}:
                left, top, right, bottom = boxes[node]
                assert not (left < x < right and y < bottom and top < next_y)


def test_a_chain_is_upright_and_what_skips_it_passes_beside() -> None:
    layout = layered([SIZE] * 5, RESIDUAL)
    assert len({x for x, _ in layout.centers}) == 1
    skip = layout.routes[0, 3]
    assert skip[1][0] > layout.centers[1][0] + SIZE[0] / 2
    assert layout.routes[2, 3][-1][0] == layout.centers[3][0]  # the chain arrives upright
    assert skip[-1][0] > layout.centers[3][0]


def test_branches_stand_beside_each_other_under_the_middle() -> None:
    edges = [(0, branch) for branch in range(1, 5)] + [(branch, 5) for branch in range(1, 5)]
    layout = layered([SIZE] * 6, edges)
    places = [x for x, _ in layout.centers]
    assert places[0] == places[5] == pytest.approx(sum(places[1:5]) / 4)
    assert all(right - left >= SIZE[0] + GAP for left, right in pairwise(places[1:5]))
    assert len({y for _, y in layout.centers[1:5]}) == 1


def test_lines_do_not_cross_where_they_need_not() -> None:
    # Two chains whose ends are named the other way round.
    layout = layered([SIZE] * 6, [(0, 3), (1, 2), (2, 5), (3, 4)])
    x = [place for place, _ in layout.centers]
    assert (x[0] < x[1]) == (x[3] < x[2]) == (x[4] < x[5])


def test_a_value_read_at_many_depths_is_one_line_with_branches() -> None:
    edges = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (0, 3), (0, 4)]
    routes = layered([SIZE] * 5, edges).routes
    lanes = [set(routes[0, target][1:-1]) for target in (2, 3, 4)]
    assert lanes[0] < lanes[1] < lanes[2]


def test_a_box_with_room_stands_in_the_middle_of_it() -> None:
    layout = layered([SIZE] * 6, [(0, 1), (1, 2), (2, 4), (4, 5), (0, 3), (3, 5)])
    assert layout.centers[3][1] == layout.centers[2][1]
    assert layered([SIZE], []).centers == ((50.0, 0.0),)
