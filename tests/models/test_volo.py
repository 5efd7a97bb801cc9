"""VOLO against published figures and against formulations of its parts that share no code with it."""

import re
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional

from alula.core.errors import UsageError
from alula.models import volo
from alula.models.digits import DIGITS
from alula.models.volo import OutlookAttention, Volo

# Millions of parameters by (model, image size): results/results-imagenet.csv of huggingface/pytorch-image-models,
# which loads the authors' checkpoints.
PUBLISHED_MILLIONS = {
    ("volo_d1", 224): 26.63,
    ("volo_d1", 384): 26.78,
    ("volo_d2", 224): 58.68,
    ("volo_d2", 384): 58.87,
    ("volo_d3", 224): 86.33,
    ("volo_d3", 448): 86.63,
    ("volo_d4", 224): 192.96,
    ("volo_d4", 448): 193.41,
    ("volo_d5", 224): 295.46,
    ("volo_d5", 448): 295.91,
    ("volo_d5", 512): 296.09,
}


@pytest.mark.parametrize(("name", "size"), PUBLISHED_MILLIONS)
def test_parameter_count(name, size):
    with torch.device("meta"):
        model = getattr(volo, name)(image_size=size)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e6, 2) == PUBLISHED_MILLIONS[name, size]


def test_state_dict_of_d2(golden):
    with torch.device("meta"):
        state = volo.volo_d2().state_dict()
    lines: dict[str, int] = {}
    for name, tensor in state.items():
        block = re.sub(r"^(network\.\d+|post_network)\.\d+\.", r"\1.*.", name)
        line = f"{block} {list(tensor.shape)}"
        lines[line] = lines.get(line, 0) + 1
    assert "\n".join(f"{count:2} x {line}" for line, count in lines.items()) == golden


def test_state_dict_of_d1_as_quoted_by_others():
    # leondgarse/keras_cv_attention_models lists these while it converts the authors' d1_224_84.2.pth.tar.
    with torch.device("meta"):
        state = volo.volo_d1().state_dict()
    assert state["patch_embed.conv.0.weight"].shape == (64, 3, 7, 7)
    assert state["network.0.0.attn.attn.weight"].shape == (486, 192)
    assert state["network.0.0.attn.proj.weight"].shape == (192, 192)


def outlook_by_loops(module: OutlookAttention, x: np.ndarray) -> np.ndarray:
    """The same window by window, in float64: which token gives what to which, as the paper's algorithm 1 says it."""
    weight = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    batch, height, width, channels = x.shape
    depth = channels // module.heads
    values = x @ weight["v.weight"].T
    folded = np.zeros_like(x)
    spots = list(product((-1, 0, 1), (-1, 0, 1)))
    for b, top, left in product(range(batch), range(0, height, 2), range(0, width, 2)):
        centre = x[b, top : top + 2, left : left + 2].reshape(-1, channels).mean(axis=0)
        scores = centre @ weight["attn.weight"].T + weight["attn.bias"]
        for head in range(module.heads):
            mine = slice(head * depth, (head + 1) * depth)
            table = scores.reshape(module.heads, 9, 9)[head] * depth**-0.5
            for i, (down, right) in enumerate(spots):
                y, z = top + down, left + right
                if not (0 <= y < height and 0 <= z < width):
                    continue
                shares = np.exp(table[i]) / np.exp(table[i]).sum()
                for share, (dy, dz) in zip(shares, spots, strict=True):
                    if 0 <= top + dy < height and 0 <= left + dz < width:
                        folded[b, y, z, mine] += share * values[b, top + dy, left + dz, mine]
    return folded @ weight["proj.weight"].T + weight["proj.bias"]


@pytest.mark.parametrize(("height", "width"), [(4, 4), (6, 2), (5, 7), (1, 1)])
def test_outlook_attention_against_loops(height, width):
    torch.manual_seed(height)
    module = OutlookAttention(8, heads=2).double()
    x = torch.randn(2, height, width, 8, dtype=torch.float64)
    expected = outlook_by_loops(module, x.numpy())
    np.testing.assert_allclose(module(x).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def volo_by_functions(state: dict[str, torch.Tensor], images: torch.Tensor, config: volo.VoloConfig) -> torch.Tensor:
    """The whole network from a state dict: PyTorch's fused attention, strides as slices, no module of ours."""

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(x, name):
        return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def mlp(x, name):
        return linear(functional.gelu(linear(x, f"{name}.fc1")), f"{name}.fc2")

    def attention(query, key, value, heads):
        split = [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value)]
        return functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)

    x = images
    for i, stride, padding in ((0, 2, 3), (3, 1, 1), (6, 1, 1)):
        x = functional.conv2d(x, state[f"patch_embed.conv.{i}.weight"], stride=stride, padding=padding)
        bn = f"patch_embed.conv.{i + 1}"
        mean, var = state[f"{bn}.running_mean"], state[f"{bn}.running_var"]
        x = functional.batch_norm(x, mean, var, state[f"{bn}.weight"], state[f"{bn}.bias"]).relu()
    patch = config.patch_size // 2
    x = functional.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=patch)
    x = x.permute(0, 2, 3, 1)
    for i in range(config.outlookers):
        name = f"network.0.{i}"
        outlook = OutlookAttention(config.widths[0], config.heads[0]).double()
        outlook.load_state_dict({k.removeprefix(f"{name}.attn."): v for k, v in state.items() if f"{name}.attn." in k})
        x = x + torch.from_numpy(outlook_by_loops(outlook, norm(x, f"{name}.norm1").numpy()))
        x = x + mlp(norm(x, f"{name}.norm2"), f"{name}.mlp")
    x = functional.conv2d(x.permute(0, 3, 1, 2), state["network.1.proj.weight"], state["network.1.proj.bias"], stride=2)
    x = (x.permute(0, 2, 3, 1) + state["pos_embed"]).flatten(1, 2)
    heads = config.heads[1]
    for stage, depth in enumerate(config.transformers, start=2):
        for i in range(depth):
            name = f"network.{stage}.{i}"
            query, key, value = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv").chunk(3, dim=-1)
            x = x + linear(attention(query, key, value, heads), f"{name}.attn.proj")
            x = x + mlp(norm(x, f"{name}.norm2"), f"{name}.mlp")
    token = state["cls_token"].expand(len(x), -1, -1)
    for i in range(config.class_blocks):
        name = f"post_network.{i}"
        normed = norm(torch.cat([token, x], dim=1), f"{name}.norm1")
        key, value = linear(normed, f"{name}.attn.kv").chunk(2, dim=-1)
        query = linear(normed[:, :1], f"{name}.attn.q")
        token = token + linear(attention(query, key, value, heads), f"{name}.attn.proj")
        token = token + mlp(norm(token, f"{name}.norm2"), f"{name}.mlp")
    votes = linear(norm(x, "norm"), "aux_head").amax(dim=1)
    return linear(norm(token[:, 0], "norm"), "head") + votes / 2


def shaken(config: volo.VoloConfig, seed: int = 0) -> Volo:
    """A model in float64 none of whose entries is at its starting value, so that none can be forgotten unnoticed."""
    torch.manual_seed(seed)
    model = Volo(config).double().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.add_(torch.randn_like(tensor).abs() * 0.1 if "var" in name else torch.randn_like(tensor) * 0.1)
    return model


def test_whole_network_against_functions():
    config = replace(DIGITS, outlookers=1, transformers=(1, 2))
    model = shaken(config)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = volo_by_functions(model.state_dict(), images, config)
        torch.testing.assert_close(model(images), expected, rtol=1e-10, atol=1e-10)


def test_random_weights_give_logits_of_use():
    torch.manual_seed(0)
    with torch.no_grad():
        logits = volo.volo_d1(image_size=64)(torch.randn(8, 3, 64, 64))
    assert logits.shape == (8, 1000)
    assert 0.1 < logits.std() < 2
    assert logits.std(dim=0).mean() > 0.001  # and they depend on the picture


def test_every_parameter_learns():
    torch.manual_seed(0)
    model = Volo(DIGITS).train()
    functional.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.arange(4)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 100}, "volo image size: expected a positive multiple of 16, got 100"),
        ({"image_size": 0}, "volo image size: expected a positive multiple of 16, got 0"),
        ({"num_classes": 0}, "volo class count: expected at least 1, got 0"),
    ],
)
def test_impossible_configuration(change, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        volo.volo_d1(**change)


def test_models_resolve_without_torch_until_asked():
    script = (
        "import sys, alula.models; before = 'torch' in sys.modules; "
        "alula.models.volo.volo_d2; print(before, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_unknown_submodule():
    import alula.models

    with pytest.raises(AttributeError, match="resnet"):
        _ = alula.models.resnet
