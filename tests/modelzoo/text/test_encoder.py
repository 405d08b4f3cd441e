"""The text network: padding changes nothing, variants are paired, costs and names are those of the papers."""

from __future__ import annotations

import pytest
import torch

from modelzoo import build_model
from modelzoo.attention.contract import attention_batchnorms
from modelzoo.text import build_text_encoder, measure_text_cost
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

SIZES = {"vocabulary": 30, "max_length": 16, "num_outputs": 3}
MECHANISMS = {
    "softmax": "softmax",
    "reattention": "reattention",
    "reattention_layer": {"name": "reattention", "norm": "layer"},
    "reattention_none": {"name": "reattention", "norm": "none"},
    "refiner": "refiner",
    "refiner_unreduced": {"name": "refiner", "reduction": False, "expansion": 2},
    "refiner_plain_kernel": {"name": "refiner", "expansion": 1, "kernel_size": 5, "identity": False},
}
every_mechanism = pytest.mark.parametrize("name", MECHANISMS)


def arch(attention="softmax", **options) -> ArchSpec:
    sizes = {"depth": 2, "embed_dim": 16, "num_heads": 4, "mlp_ratio": 2.0}
    return ArchSpec.model_validate({"model": "bert", "attention": attention, **sizes, **options})


def build(attention="softmax", *, seed=0, **options):
    return build_text_encoder(arch(attention, **options), head_dropout=0.0, seed=seed, **SIZES)


def texts(lengths=(5, 9, 3), *, padded_to=9, sentences=True) -> torch.Tensor:
    """Random texts, padded with token 0; the second half of each is another sentence."""
    stream = torch.Generator().manual_seed(1)
    found = torch.zeros(len(lengths), 3, padded_to, dtype=torch.int64)
    for row, length in zip(found, lengths, strict=True):
        row[0, :length] = torch.randint(1, 30, (length,), generator=stream)
        row[1, length // 2 : length] = int(sentences)
        row[2, :length] = 1
    return found


def randomise_norms(model):
    """Norms with numbers that matter: a bias that makes zeros non-zero, and statistics that are not 0 and 1."""
    stream = torch.Generator().manual_seed(2)
    for norm in attention_batchnorms(model):
        for values, low, high in (
            (norm.weight, 0.5, 1.5),
            (norm.bias, 0.2, 1.0),
            (norm.running_mean, -0.2, 0.2),
            (norm.running_var, 0.5, 1.5),
        ):
            values.data.uniform_(low, high, generator=stream)
    return model


@every_mechanism
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_amount_of_padding_changes_no_result_no_gradient_and_no_statistic(name, training):
    found = []
    for padded_to in (9, 16):
        model = randomise_norms(build(MECHANISMS[name])).train(training)
        text = texts(padded_to=padded_to)
        output = model(text)
        output.square().sum().backward()
        weights = model.bert.blocks[0].attention.self.query.weight.grad
        buffers = {key: value for key, value in model.named_buffers() if "running" in key}
        found.append((output, weights, buffers))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


@every_mechanism
def test_what_is_written_in_the_padding_changes_nothing(name):
    model = randomise_norms(build(MECHANISMS[name])).eval()
    text = texts()
    other = text.clone()
    other[:, 0][text[:, 2] == 0] = 7
    torch.testing.assert_close(model(other), model(text), atol=1e-5, rtol=1e-5)


@every_mechanism
def test_another_text_of_the_batch_changes_nothing_in_evaluation(name):
    model = randomise_norms(build(MECHANISMS[name])).eval()
    text = texts()
    torch.testing.assert_close(model(text[:1, :, :5]), model(text)[:1], atol=1e-5, rtol=1e-5)


@every_mechanism
def test_variants_of_one_seed_have_equal_weights_where_both_have_one(name):
    baseline, variant = build("softmax").state_dict(), build(MECHANISMS[name]).state_dict()
    assert set(baseline) <= set(variant)
    assert all(torch.equal(baseline[key], variant[key]) for key in baseline)


def test_a_mechanism_draws_the_same_in_a_block_whichever_others_have_it():
    all_blocks = build("refiner").state_dict()
    one = build({"name": "refiner", "blocks": [1]}).state_dict()
    assert not any("layer.0" in key and "mechanism" in key for key in one)
    assert all(torch.equal(value, all_blocks[key]) for key, value in one.items())


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator():
    before = torch.get_rng_state()
    one, two, other = (build("refiner", seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


def test_softmax_blocks_are_those_of_torch():
    """A second implementation: torch's own post-norm layer with GELU and a mask of padded keys."""
    block = build("softmax").bert.blocks[0].eval()
    torch.nn.init.normal_(block.attention.self.query.bias)
    layer = torch.nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True, norm_first=False
    )
    own = block.attention.self
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
        layer.self_attn.in_proj_bias.copy_(torch.cat([own.query.bias, own.key.bias, own.value.bias]))
    layer.self_attn.out_proj.load_state_dict(block.attention.output.dense.state_dict())
    layer.norm1.load_state_dict(block.attention.output.LayerNorm.state_dict())
    layer.linear1.load_state_dict(block.intermediate.dense.state_dict())
    layer.linear2.load_state_dict(block.output.dense.state_dict())
    layer.norm2.load_state_dict(block.output.LayerNorm.state_dict())
    keep = texts()[:, 2].bool()
    x = torch.randn(3, 9, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(x, keep)[keep], layer(x, src_key_padding_mask=~keep)[keep], atol=1e-6, rtol=1e-5)


def test_weights_have_their_released_names():
    """Those of `BertForSequenceClassification`, so that a released state dict can be read."""
    layer = "bert.encoder.layer.0"
    parts = [
        *(f"bert.embeddings.{name}" for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")),
        *("bert.embeddings.LayerNorm", "bert.pooler.dense", "classifier"),
        *(f"{layer}.attention.self.{name}" for name in ("query", "key", "value")),
        *(f"{layer}.{name}" for name in ("attention.output.dense", "attention.output.LayerNorm")),
        *(f"{layer}.{name}" for name in ("intermediate.dense", "output.dense", "output.LayerNorm")),
    ]
    found = {key.rpartition(".")[0] for key in build(depth=1).state_dict()}
    assert found == set(parts)


def test_cost_is_that_of_the_sums_by_hand():
    """Two blocks of 16 dims, 4 heads, 32 hidden, on 16 tokens; the pooler and the classifier see one token."""
    n, d, hidden, heads = 16, 16, 32, 4
    block = n * (4 * d * d + 2 * d * hidden) + 2 * n * n * d
    softmax = 2 * block + d * d + d * 3
    expanded = 3 * heads
    refined = softmax + 2 * n * n * (heads * expanded + 9 * expanded + expanded * heads)
    sizes = {name: measure_text_cost(arch(name), **SIZES) for name in ("softmax", "refiner")}
    assert sizes["softmax"].gmacs == pytest.approx(softmax / 1e9)
    assert sizes["refiner"].gmacs == pytest.approx(refined / 1e9)
    norms = 2 * d
    params = (30 + 16 + 2) * d + norms + 2 * (4 * (d * d + d) + 2 * d * hidden + hidden + d + 2 * norms)
    assert sizes["softmax"].params_m == pytest.approx((params + d * d + d + 3 * d + 3) / 1e6)


def test_the_default_is_a_small_bert():
    found = ArchSpec(model="bert")
    assert (found.depth, found.embed_dim, found.num_heads, found.mlp_ratio) == (4, 128, 4, 4.0)
    assert (found.patch_size, found.global_pool) == (None, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 4}, "arch.patch_size: patch_size is an option of models of images; 'bert' has none, so"),
        ({"global_pool": "avg"}, "arch.global_pool: global_pool is an option of models of images; 'bert' has none, so"),
        (
            {"drop_path_rate": 0.1},
            "arch.drop_path_rate: 'bert' drops entries and no paths, so drop_path_rate=0.1 would",
        ),
        ({"options": {"qk_norm": True}}, "arch.options.qk_norm: 'bert' has depth, embed_dim, num_heads, mlp_ratio and"),
        (
            {"attention": "groupmix"},
            "arch.attention: 'groupmix' mixes a token with its neighbours in the grid of an image",
        ),
        (
            {"attention": {"name": "refiner", "residual_map": True}},
            "arch.attention.residual_map: the blocks of 'bert' hand on no attention maps, so residual_map=True would",
        ),
        (
            {"attention": {"name": "refiner", "kernel_form": "spatial"}},
            "arch.attention.kernel_form: kernel_form=spatial takes the keys as an image, and the tokens of 'bert' are",
        ),
        ({"num_heads": 3}, "arch.num_heads: embed_dim % num_heads == 0 must hold, but got embed_dim=16, num_heads=3"),
        ({"mlp_ratio": 0.01}, "arch.mlp_ratio: embed_dim * mlp_ratio >= 1 must hold, but got embed_dim=16,"),
        (
            {"attention": {"name": "refiner", "blocks": {"last": 5}}},
            "arch.attention.blocks.last: last: 5 is more than the 2 blocks of the model",
        ),
    ],
)
def test_what_text_does_not_have_is_refused(options, message):
    with pytest.raises(SpecError) as caught:
        build(**options)
    assert str(caught.value).startswith(message)


def test_models_of_images_do_not_read_text_and_bert_takes_no_images():
    with pytest.raises(SpecError, match="the task 'text' needs a model of text, and 'vit' takes images"):
        build_text_encoder(ArchSpec(), **SIZES)
    with pytest.raises(SpecError, match="'bert' reads text, and this task has images"):
        build_model(ArchSpec(model="bert"), img_size=8, in_chans=1, num_classes=10)
