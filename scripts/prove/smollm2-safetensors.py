"""SmolLM2-135M-Instruct from its GGUF file to safetensors, as transformers and vLLM want it.

  python smollm2-safetensors.py SOURCE.gguf DIRECTORY

GGUF keeps the rows of q and k in llama.cpp's order for rotary embeddings; they are put back in pairs of halves.
"""
import os
import sys

import numpy
import torch
from gguf import GGUFReader, dequantize
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

source, target = sys.argv[1:3]
reader = GGUFReader(source)


def field(name):
    return reader.fields[name].contents()


kind = field("general.architecture")
heads, kv_heads = int(field(f"{kind}.attention.head_count")), int(field(f"{kind}.attention.head_count_kv"))
layers = int(field(f"{kind}.block_count"))
tensors = {t.name: torch.from_numpy(numpy.array(dequantize(t.data, t.tensor_type))).float() for t in reader.tensors}
config = LlamaConfig(
    vocab_size=tensors["token_embd.weight"].shape[0], hidden_size=int(field(f"{kind}.embedding_length")),
    intermediate_size=int(field(f"{kind}.feed_forward_length")), num_hidden_layers=layers, num_attention_heads=heads,
    num_key_value_heads=kv_heads, max_position_embeddings=int(field(f"{kind}.context_length")),
    rms_norm_eps=float(field(f"{kind}.attention.layer_norm_rms_epsilon")), rope_theta=float(field(f"{kind}.rope.freq_base")),
    tie_word_embeddings="output.weight" not in tensors, bos_token_id=1, eos_token_id=2, pad_token_id=2)


def halves(weight, count):
    rows, columns = weight.shape
    return weight.reshape(count, rows // count // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
state = {"model.embed_tokens.weight": tensors["token_embd.weight"], "model.norm.weight": tensors["output_norm.weight"]}
if "output.weight" in tensors:
    state["lm_head.weight"] = tensors["output.weight"]
for layer in range(layers):
    for ours, theirs in NAMES.items():
        weight = tensors[f"blk.{layer}.{ours}.weight"]
        if ours in ("attn_q", "attn_k"):
            weight = halves(weight, heads if ours == "attn_q" else kv_heads)
        state[f"model.layers.{layer}.{theirs}.weight"] = weight
model = LlamaForCausalLM(config)
model.load_state_dict(state, strict=False)
model.to(torch.bfloat16).save_pretrained(target)
folder, name = os.path.split(os.path.abspath(source))
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)
