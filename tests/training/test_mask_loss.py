import pytest
import torch
from torch import Tensor
from torch.nn import functional

from espalier.geometry import Shape
from espalier.training import streaming
from espalier.training.device import forget_peak_memory, peak_memory_bytes
from espalier.training.mask_loss import SoftTarget, mask_loss, soft_target

SIZES: list[tuple[Shape, Shape]] = [
    ((6, 12, 12), (48, 64, 64)),
    ((3, 5, 6), (24, 40, 48)),
    ((3, 5, 4), (37, 50, 41)),
    ((3, 3, 3), (3, 3, 3)),
    ((4, 4, 4), (3, 9, 4)),
    ((1, 1, 1), (16, 16, 16)),
]


def drawn(batch: int, structures: int, low: Shape, fine: Shape, *, scale: float = 5.0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(batch, structures, *low, generator=random) * scale
    return logits, torch.randint(0, structures, (batch, *fine), generator=random, dtype=torch.uint8)


def with_gradient(logits: Tensor, masks: Tensor | SoftTarget, **options: object) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    loss = mask_loss(leaf, masks, **options)
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


def assert_as_reference(logits: Tensor, masks: Tensor, **options: object) -> None:
    loss, gradient = with_gradient(logits, masks, **options)
    exact, exact_gradient = with_gradient(logits.double(), masks, **options, backend="reference")
    assert abs(float(loss - exact)) <= 1e-6 * max(float(exact), 1e-3)
    assert (gradient - exact_gradient).norm() <= 1e-6 * max(float(exact_gradient.norm()), 1e-9)


@pytest.mark.parametrize(("low", "fine"), SIZES)
def test_streaming_gives_the_published_loss_and_gradient(low: Shape, fine: Shape) -> None:
    assert_as_reference(*drawn(2, 7, low, fine))


@pytest.mark.parametrize("structures", [1, 2, 7, 25])
def test_any_number_of_structures_can_be_learned(structures: int) -> None:
    assert_as_reference(*drawn(3, structures, (3, 5, 6), (12, 20, 24)))


def test_extreme_logits_stay_exact() -> None:
    assert_as_reference(*drawn(2, 7, (3, 5, 6), (24, 40, 48), scale=500))


def test_the_reference_is_interpolate_and_cross_entropy() -> None:
    logits, masks = drawn(2, 4, (3, 4, 5), (12, 16, 20))
    fine = functional.interpolate(logits, size=(12, 16, 20), mode="trilinear", align_corners=False)
    assert torch.equal(mask_loss(logits, masks, backend="reference"), functional.cross_entropy(fine, masks.long()))


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_weights_and_ignored_voxels_count_as_cross_entropy_counts_them(backend: str) -> None:
    logits, masks = drawn(2, 4, (3, 4, 5), (12, 16, 20))
    masks[:, 2:5] = 255
    weights = [0.5, 1.0, 2.0, 4.0]
    fine = functional.interpolate(logits.double(), size=(12, 16, 20), mode="trilinear")
    wanted = functional.cross_entropy(fine, masks.long(), weight=torch.tensor(weights).double(), ignore_index=255)
    loss = mask_loss(logits, masks, class_weights=weights, ignore_index=255, backend=backend)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)


def test_weighted_gradients_are_those_of_the_reference() -> None:
    logits, masks = drawn(3, 5, (3, 4, 5), (12, 16, 20))
    masks[:, :, 3:9] = 9
    assert_as_reference(logits, masks, class_weights=[1, 2, 3, 4, 5], scan_weights=[1, 0, 0.25], ignore_index=9)


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_a_scan_of_weight_0_is_as_if_it_were_not_there(backend: str) -> None:
    logits, masks = drawn(3, 4, (3, 4, 5), (12, 16, 20))
    loss, gradient = with_gradient(logits, masks, scan_weights=[1, 0, 1], backend=backend)
    alone, alone_gradient = with_gradient(logits[[0, 2]], masks[[0, 2]], backend=backend)
    assert float(loss) == pytest.approx(float(alone), rel=1e-6)
    assert torch.count_nonzero(gradient[1]) == 0
    torch.testing.assert_close(gradient[[0, 2]], alone_gradient)


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("nothing", ["scans", "voxels"])
def test_where_nothing_counts_loss_and_gradient_are_0(nothing: str, backend: str) -> None:
    logits, masks = drawn(2, 4, (3, 4, 5), (12, 16, 20))
    options = {"scan_weights": [0, 0]} if nothing == "scans" else {"ignore_index": 3}
    loss, gradient = with_gradient(logits, torch.full_like(masks, 3), backend=backend, **options)
    assert float(loss) == 0
    assert torch.count_nonzero(gradient) == 0


def test_the_mean_is_over_the_voxels_of_the_whole_batch() -> None:
    logits, masks = drawn(2, 4, (3, 4, 5), (12, 16, 20))
    masks[0, :6] = 9
    both = [float(mask_loss(logits[i : i + 1], masks[i : i + 1], ignore_index=9)) for i in range(2)]
    assert float(mask_loss(logits, masks, ignore_index=9)) == pytest.approx((both[0] + 2 * both[1]) / 3, rel=1e-6)


@pytest.mark.parametrize(("low", "fine"), SIZES[1:4])
def test_a_soft_target_stands_for_the_masks(low: Shape, fine: Shape) -> None:
    logits, masks = drawn(2, 5, low, fine)
    target = soft_target(masks, structures=5, grid=low)
    for options in ({}, {"scan_weights": [1, 0.5]}):
        loss, gradient = with_gradient(logits, target, **options)
        exact, exact_gradient = with_gradient(logits.double(), masks, **options, backend="reference")
        assert float(loss) == pytest.approx(float(exact), rel=1e-6)
        assert (gradient - exact_gradient).norm() <= 1e-5 * exact_gradient.norm()
    reference = mask_loss(logits.double(), soft_target(masks, structures=5, grid=low, dtype=torch.float64), backend="reference")
    assert float(reference) == pytest.approx(float(mask_loss(logits, masks)), rel=1e-6)


def test_a_soft_target_is_the_adjoint_of_upsampling_and_keeps_every_voxel() -> None:
    logits, masks = drawn(1, 5, (3, 4, 5), (13, 16, 21))
    leaf = logits.double().requires_grad_()
    fine = functional.interpolate(leaf, size=(13, 16, 21), mode="trilinear")
    (wanted,) = torch.autograd.grad(fine.gather(1, masks.long()[:, None]).sum(), leaf)
    target = soft_target(masks, structures=5, grid=(3, 4, 5), dtype=torch.float64)
    torch.testing.assert_close(target.adjoint, wanted)
    assert float(target.adjoint.sum()) == pytest.approx(13 * 16 * 21)


def test_a_mirror_image_has_the_mirrored_gradient() -> None:
    logits, masks = drawn(1, 5, (3, 4, 5), (12, 16, 20))
    _, gradient = with_gradient(logits, masks)
    _, mirrored = with_gradient(logits.flip(4), masks.flip(3))
    torch.testing.assert_close(mirrored, gradient.flip(4))


def test_gradients_pass_the_numerical_check_in_float64() -> None:
    logits, masks = drawn(2, 3, (2, 2, 3), (5, 6, 7), scale=1)
    for options in ({}, {"class_weights": [1, 2, 3], "scan_weights": [1, 0.5]}):
        assert torch.autograd.gradcheck(lambda z, o=options: mask_loss(z, masks, **o), logits.double().requires_grad_())


def test_group_sizes_change_no_more_than_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, masks = drawn(3, 4, (3, 4, 5), (12, 16, 20))
    whole = with_gradient(logits, masks)
    monkeypatch.setattr(streaming, "FLOATS_AT_ONCE", {"cpu": 4 * 16 * 20 * 5})
    pieces = with_gradient(logits, masks)
    torch.testing.assert_close(pieces[0], whole[0])
    torch.testing.assert_close(pieces[1], whole[1])


def test_memory_layout_and_integer_type_do_not_matter() -> None:
    logits, masks = drawn(2, 4, (3, 4, 5), (12, 16, 20))
    other = mask_loss(
        logits.to(memory_format=torch.channels_last_3d), masks.long().transpose(1, 3).contiguous().transpose(1, 3)
    )
    assert float(other) == pytest.approx(float(mask_loss(logits, masks)), rel=1e-6)


def test_autocast_changes_nothing_inside() -> None:
    logits, masks = drawn(1, 4, (3, 4, 5), (12, 16, 20))
    plain, gradient = with_gradient(logits, masks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, cast_gradient = with_gradient(logits, masks)
    assert torch.equal(plain, cast)
    assert torch.equal(gradient, cast_gradient)


def test_half_precision_logits_get_their_gradient_in_their_own_type() -> None:
    logits, masks = drawn(1, 4, (3, 4, 5), (12, 16, 20))
    loss, gradient = with_gradient(logits.bfloat16(), masks)
    assert loss.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16


def test_a_second_derivative_is_refused_with_the_way_out() -> None:
    logits, masks = drawn(1, 3, (2, 2, 2), (4, 4, 4))
    leaf = logits.requires_grad_()
    (gradient,) = torch.autograd.grad(mask_loss(leaf, masks) * 2, leaf, create_graph=True)
    with pytest.raises(NotImplementedError, match='backend="reference"'):
        gradient.square().sum().backward()


def test_no_fine_logits_are_kept_for_the_backward_pass() -> None:
    logits, masks = drawn(2, 4, (3, 4, 5), (12, 16, 20))
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        mask_loss(logits.requires_grad_(), masks)
    assert sum(kept) == 2 * logits.numel()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "dice"}, "only 'ce'"),
        ({"backend": "native"}, "reference, torch"),
        ({"class_weights": [1, 2]}, "class_weights has shape"),
        ({"scan_weights": [1]}, "scan_weights has shape"),
        ({"scan_weights": [1, -1]}, "negative"),
        ({"masks": torch.full((2, 4, 4, 4), 3)}, "value 3, but logits has 3 channels"),
        ({"masks": torch.full((2, 4, 4, 4), -1)}, "value -1"),
        ({"masks": torch.zeros(2, 4, 4, 4)}, "integers"),
        ({"masks": torch.zeros(1, 4, 4, 4, dtype=torch.uint8)}, "b = 2"),
        ({"masks": SoftTarget(torch.zeros(2, 3, 2, 2, 2), (4, 4, 4)), "ignore_index": 1}, "SoftTarget knows no single voxels"),
        ({"masks": SoftTarget(torch.zeros(2, 4, 2, 2, 2), (4, 4, 4))}, "SoftTarget has shape"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], words: str) -> None:
    logits, masks = drawn(2, 3, (2, 2, 2), (4, 4, 4))
    with pytest.raises(ValueError, match=words):
        mask_loss(**{"logits": logits, "masks": masks} | change)


def test_the_branch_of_a_whole_chest_crop_needs_less_than_64_mb() -> None:
    cpu = torch.device("cpu")
    logits, masks = drawn(1, 7, (6, 12, 12), (96, 192, 192))
    mask_loss(logits.requires_grad_(), masks).backward()
    forget_peak_memory(cpu)
    before = peak_memory_bytes(cpu)
    mask_loss(logits, masks).backward()
    assert peak_memory_bytes(cpu) - before < 64 * 2**20
