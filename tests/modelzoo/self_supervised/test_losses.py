"""Losses of views and regions against loops over their equations, their invariances, and half precision."""

from __future__ import annotations

import math

import pytest
import torch

from modelzoo.self_supervised import entropy, mean_logits, region_loss, teacher_probabilities, update_center, view_loss

TEMPERATURES = {"student_temp": 0.1, "teacher_temp": 0.05}
K, B, D = 7, 3, 5


def rows(num, width=K, seed=0):
    return torch.randn(num, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cross_entropy(teacher, student, center):
    """- sum P log S of two rows, from exponentials of plain numbers."""
    target = [math.exp((t - c) / 0.05) for t, c in zip(teacher.tolist(), center.tolist(), strict=True)]
    other = [math.exp(s / 0.1) for s in student.tolist()]
    pairs = zip(target, other, strict=True)
    return -sum(t / sum(target) * math.log(s / sum(other)) for t, s in pairs)


def squared_distance(teacher, student, center):
    """Of the rows of length 1, in plain numbers."""
    t, s = [a - c for a, c in zip(teacher.tolist(), center.tolist(), strict=True)], student.tolist()
    lengths = [math.sqrt(sum(value**2 for value in each)) for each in (t, s)]
    return sum((a / lengths[0] - b / lengths[1]) ** 2 for a, b in zip(t, s, strict=True))


NAIVE = {"cross_entropy": (cross_entropy, 1e-9), "mse": (squared_distance, 1e-12)}
"""Distance of two rows, and the precision to which a loss of it agrees."""


@pytest.mark.parametrize("metric", NAIVE)
@pytest.mark.parametrize(("num_views", "num_global"), [(2, 2), (4, 2), (5, 2), (3, 1)])
def test_view_loss_is_the_mean_over_pairs_of_views_and_images(num_views, num_global, metric):
    distance, precision = NAIVE[metric]
    student, teacher, center = rows(num_views * B), rows(num_global * B, seed=1), rows(1, seed=2)
    terms = [
        distance(teacher[q * B + image], student[v * B + image], center[0])
        for q in range(num_global)
        for v in range(num_views)
        if v != q
        for image in range(B)
    ]
    options = {"num_views": num_views, "num_global": num_global, "metric": metric, **TEMPERATURES}
    loss = view_loss(student, teacher, center=center, **options)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=precision)


@pytest.mark.parametrize("metric", NAIVE)
@pytest.mark.parametrize("num_regions", [[4, 4], [4, 4, 1], [4, 4, 2, 1], [4, 1, 3]])
def test_region_loss_is_the_mean_over_pairs_images_and_regions(num_regions, metric):
    """Also without local views, and with views of three sizes."""
    distance, precision = NAIVE[metric]
    total, of_global = sum(num_regions) * B, sum(num_regions[:2]) * B
    student, seen = rows(total), rows(total, D, seed=1)
    teacher, looked_up = rows(of_global, seed=2), rows(of_global, D, seed=3)
    center = rows(1, seed=4)
    first = [sum(num_regions[:view]) * B for view in range(len(num_regions))]
    terms = []
    for q in range(2):
        for v, regions in enumerate(num_regions):
            pair = []
            for image in range(B):
                candidates = range(first[q] + image * num_regions[q], first[q] + (image + 1) * num_regions[q])
                for row in range(first[v] + image * regions, first[v] + (image + 1) * regions):
                    cosines = {j: torch.cosine_similarity(seen[row], looked_up[j], dim=0).item() for j in candidates}
                    best = max(cosines, key=cosines.__getitem__)
                    pair.append(distance(teacher[best], student[row], center[0]))
            if v != q:
                terms.append(sum(pair) / len(pair))
    loss = region_loss(
        student,
        teacher,
        student_features=seen,
        teacher_features=looked_up,
        num_regions=num_regions,
        teacher_num_regions=num_regions[:2],
        center=center,
        metric=metric,
        **TEMPERATURES,
    )
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=precision)


def test_gradient_reaches_logits_of_the_student_only():
    leaves = [rows(4 * B).requires_grad_() for _ in range(2)] + [rows(4 * B, D).requires_grad_() for _ in range(2)]
    student, teacher, seen, looked_up = leaves
    region_loss(
        student,
        teacher,
        student_features=seen,
        teacher_features=looked_up,
        num_regions=[2, 2],
        teacher_num_regions=[2, 2],
        center=torch.zeros(K),
        **TEMPERATURES,
    ).backward()
    view_loss(student, teacher, center=torch.zeros(K), num_views=2, **TEMPERATURES).backward()
    assert [leaf.grad is not None for leaf in leaves] == [True, False, False, False]


def test_autocast_does_not_make_the_losses_half_precision():
    """Logits in bfloat16 give the loss of the same numbers in float32, to its precision."""
    student, teacher, features = (rows(4 * B, width, seed=s).bfloat16() for s, width in ((0, K), (1, K), (2, D)))
    found = {}
    for name, dtype in (("half", torch.bfloat16), ("single", torch.float32)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == "half"):
            s, t, f = (each.to(dtype) for each in (student, teacher, features))
            regions = {
                "student_features": f,
                "teacher_features": f.flip(0),
                "num_regions": [2, 2],
                "teacher_num_regions": [2, 2],
            }
            found[name] = torch.stack(
                [
                    view_loss(s, t, center=torch.zeros(K), num_views=2, **TEMPERATURES),
                    region_loss(s, t, center=torch.zeros(K), **regions, **TEMPERATURES),
                ]
            )
    assert found["half"].dtype == torch.float32
    torch.testing.assert_close(found["half"], found["single"], rtol=1e-6, atol=0)


def test_autocast_does_not_change_which_regions_match():
    """Two regions whose cosines differ by 1e-4, which bfloat16 does not resolve."""
    seen = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    looked_up = torch.tensor([[1.0, 0.02], [1.0, 0.01]]).repeat(2, 1)
    teacher = torch.eye(2).repeat(2, 1)
    found = []
    for is_half in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half):
            loss = region_loss(
                rows(4, 2).float(),
                teacher,
                student_features=seen,
                teacher_features=looked_up,
                num_regions=[2, 2],
                teacher_num_regions=[2, 2],
                center=torch.zeros(2),
                **TEMPERATURES,
            )
        found.append(loss.item())
    assert found[0] == found[1]


@pytest.mark.parametrize(("student", "teacher", "num_views"), [(7, 4, 3), (6, 3, 3)])
def test_rows_that_are_no_whole_views_are_refused(student, teacher, num_views):
    message = f"{num_views} and 2 views cannot have {student} and {teacher} rows"
    with pytest.raises(ValueError, match=message):
        view_loss(rows(student), rows(teacher), center=torch.zeros(K), num_views=num_views, **TEMPERATURES)


def test_regions_of_other_views_are_refused():
    with pytest.raises(ValueError, match=r"3 images with \[2, 2\] regions cannot have 11 rows"):
        region_loss(
            rows(12),
            rows(11),
            student_features=rows(12, D),
            teacher_features=rows(12, D),
            num_regions=[2, 2],
            teacher_num_regions=[2, 2],
            center=torch.zeros(K),
            **TEMPERATURES,
        )


def test_one_view_has_nothing_to_follow():
    with pytest.raises(ValueError, match="compares views, but got 1 views, 1 of them global"):
        view_loss(rows(B), rows(B), center=torch.zeros(K), num_views=1, num_global=1, **TEMPERATURES)


def test_center_is_the_moving_average_of_means():
    """After n updates by the same mean x: (1 - m^n) x + m^n c."""
    center, teacher = torch.full((1, K), 2.0), rows(6).float()
    for _ in range(5):
        update_center(center, mean_logits(teacher), momentum=0.9)
    torch.testing.assert_close(center, (1 - 0.9**5) * teacher.mean(0, keepdim=True) + 0.9**5 * 2.0)


def test_entropy_shows_both_collapses():
    undecided = teacher_probabilities(torch.zeros(4, K), torch.zeros(K), 0.05)
    decided = teacher_probabilities(torch.eye(K)[:1].repeat(4, 1) * 100, torch.zeros(K), 0.05)
    assert entropy(undecided.mean(0)).item() == pytest.approx(math.log(K))
    assert entropy(decided.mean(0)).item() == 0.0


def test_center_removes_what_all_images_share():
    """Logits that differ by the centre have the distributions of those without it."""
    logits, center = rows(4), rows(1, seed=1)
    ours = teacher_probabilities(logits + center, center, 0.05)
    torch.testing.assert_close(ours, teacher_probabilities(logits, torch.zeros(K), 0.05))
