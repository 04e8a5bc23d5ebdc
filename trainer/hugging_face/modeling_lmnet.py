"""Language model networks: vertices are decoders without embedding and head, edges are small sequence modules.
Parameters have the names of the training framework (`edges.1.0-3.fc.bias`)."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast, SequenceClassifierOutput

from .configuration_lmnet import LMNetConfig


class Backbone:
    """The shape of a decoder, from the keys of its `config.json` in either dialect."""

    def __init__(self, config):
        def get(*keys, default=None):
            return next((config[key] for key in keys if config.get(key) is not None), default)

        self.gpt2 = config["model_type"] == "gpt2"
        self.width = get("hidden_size", "n_embd")
        self.heads = get("num_attention_heads", "n_head")
        self.kv_heads = get("num_key_value_heads", default=self.heads)
        self.head_width = get("head_dim", default=self.width // self.heads)
        self.inner = get("intermediate_size", "n_inner", default=4 * self.width)
        self.blocks = get("num_hidden_layers", "n_layer")
        self.vocabulary = config["vocab_size"]
        self.positions = get("max_position_embeddings", "n_positions", default=1024)
        self.eps = get("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", default=1e-5 if self.gpt2 else 1e-6)
        self.qkv_bias = config["model_type"] != "llama"
        self.rope = get("rope_parameters", "rope_scaling", default={})
        self.theta = self.rope.get("rope_theta") or get("rope_theta", default=10000.0)

    def norm(self):
        return nn.LayerNorm(self.width, eps=self.eps) if self.gpt2 else RMSNorm(self.width, self.eps)

    def inverse_frequencies(self, device):
        """[head_width / 2], by the rope types default, linear and llama3."""
        exponents = torch.arange(0, self.head_width, 2, dtype=torch.float32, device=device) / self.head_width
        frequencies = 1.0 / self.theta**exponents
        kind = self.rope.get("rope_type") or self.rope.get("type") or "default"
        if kind == "default":
            return frequencies
        if kind == "linear":
            return frequencies / self.rope["factor"]
        if kind != "llama3":
            raise ValueError(f"rope type {kind} is not supported")
        factor, low, high = (self.rope[key] for key in ("factor", "low_freq_factor", "high_freq_factor"))
        turns = self.rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
        smooth = ((turns - low) / (high - low)).clamp(0, 1)
        return (1 - smooth) * frequencies / factor + smooth * frequencies

    def rotary(self, positions, dtype):
        """positions [B, T] -> cosine and sine [B, 1, T, head_width]; None where positions are learned."""
        if self.gpt2:
            return None
        angles = (positions[..., None].float() * self.inverse_frequencies(positions.device)).repeat(1, 1, 2)[:, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class Step:
    """What every attention of one forward call needs: which keys are seen, the positions' angles, and the cache."""

    def __init__(self, mask, positions, cache):
        self.mask = mask  # [B, 1, T, keys]
        self.positions = positions  # [B, T]
        self.cache = cache
        self.tables = {}

    def rotary(self, backbone, dtype):
        if backbone not in self.tables:
            self.tables[backbone] = backbone.rotary(self.positions, dtype)
        return self.tables[backbone]


def rotate(x, table):
    cosine, sine = table
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


class Attention(nn.Module):
    """Causal attention with grouped keys. `plain`: the kind of the edges, without scaling, rotation and groups."""

    def __init__(self, backbone, plain=False):
        super().__init__()
        self.backbone, self.plain = backbone, plain
        self.kv_heads = backbone.heads if plain else backbone.kv_heads
        inner, kv_inner = backbone.heads * backbone.head_width, self.kv_heads * backbone.head_width
        self.q = nn.Linear(backbone.width, inner, bias=plain or backbone.qkv_bias)
        self.k = nn.Linear(backbone.width, kv_inner, bias=plain or backbone.qkv_bias)
        self.v = nn.Linear(backbone.width, kv_inner, bias=plain or backbone.qkv_bias)
        self.o = nn.Linear(inner, backbone.width, bias=plain or backbone.gpt2)

    def forward(self, x, step, place):
        query, key, value = (
            part(x).unflatten(-1, (-1, self.backbone.head_width)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        rotary = None if self.plain else step.rotary(self.backbone, x.dtype)
        if rotary is not None:
            query, key = rotate(query, rotary), rotate(key, rotary)
        if step.cache is not None:
            key, value = step.cache.update(key, value, place)
        groups = self.backbone.heads // self.kv_heads
        if groups > 1:
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        scale = 1.0 if self.plain else self.backbone.head_width**-0.5
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=step.mask, scale=scale)
        return self.o(out.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.gpt2 = backbone.gpt2
        if not self.gpt2:
            self.gate = nn.Linear(backbone.width, backbone.inner, bias=False)
        self.up = nn.Linear(backbone.width, backbone.inner, bias=self.gpt2)
        self.down = nn.Linear(backbone.inner, backbone.width, bias=self.gpt2)

    def forward(self, x):
        if self.gpt2:
            return self.down(F.gelu(self.up(x), approximate="tanh"))
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.attention_norm = backbone.norm()
        self.attention = Attention(backbone)
        self.mlp_norm = backbone.norm()
        self.mlp = FeedForward(backbone)

    def forward(self, x, step, place):
        x = x + self.attention(self.attention_norm(x), step, place)
        return x + self.mlp(self.mlp_norm(x))


class Vertex(nn.Module):
    """A decoder without embedding and head, its final norm included."""

    def __init__(self, backbone):
        super().__init__()
        self.blocks = nn.ModuleList(Block(backbone) for _ in range(backbone.blocks))
        self.norm = backbone.norm()

    def forward(self, x, step, place):
        for number, block in enumerate(self.blocks):
            x = block(x, step, place + number)
        return self.norm(x)


class BlockLink(nn.Module):
    """A block of the backbone, then a linear."""

    places = 1

    def __init__(self, backbone):
        super().__init__()
        self.block = Block(backbone)
        self.fc = nn.Linear(backbone.width, backbone.width)

    def forward(self, x, step, place):
        return self.fc(self.block(x, step, place))


class AttentionLink(nn.Module):
    """Attention without a norm before it, then LayerNorm, one linear, GELU."""

    places = 1

    def __init__(self, backbone):
        super().__init__()
        self.attention = Attention(backbone, plain=True)
        self.norm = nn.LayerNorm(backbone.width, eps=1e-5)
        self.mlp = nn.Linear(backbone.width, backbone.width)

    def forward(self, x, step, place):
        x = x + self.attention(x, step, place)
        return x + F.gelu(self.mlp(self.norm(x)))


class MlpLink(nn.Module):
    """Two linears through half the width, a GELU behind both."""

    places = 0

    def __init__(self, backbone):
        super().__init__()
        self.mlp = nn.Module()
        self.mlp.add_module("in", nn.Linear(backbone.width, backbone.width // 2))
        self.mlp.add_module("out", nn.Linear(backbone.width // 2, backbone.width))

    def forward(self, x, step, place):
        inner = F.gelu(getattr(self.mlp, "in")(x), approximate="tanh")
        return x + F.gelu(self.mlp.out(inner), approximate="tanh")


class LinearLink(nn.Module):
    places = 0

    def __init__(self, backbone):
        super().__init__()
        self.linear = nn.Linear(backbone.width, backbone.width)

    def forward(self, x, step, place):
        return self.linear(x)


LINKS = {"block": BlockLink, "attention": AttentionLink, "mlp": MlpLink, "linear": LinearLink}


def add(root, name, module):
    """Puts a module into the tree under a dotted name."""
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root._modules[part]
    root.add_module(last, module)


class LMNetPreTrainedModel(PreTrainedModel):
    """The network up to what the head reads."""

    config_class = LMNetConfig
    base_model_prefix = "network"
    _supports_sdpa = True
    _supports_cache_class = True
    _no_split_modules = ["Block"]

    def __init__(self, config):
        super().__init__(config)
        backbone = Backbone(config.backbone)
        own = {group: Backbone(shape) for group, shape in config.group_backbones.items()}
        self.embeddings = nn.Module()
        self.embeddings.tokens = nn.Embedding(backbone.vocabulary, backbone.width)
        if backbone.gpt2:
            self.embeddings.positions = nn.Embedding(backbone.positions, backbone.width)
        if config.prefix_length > 0:
            self.embeddings.prefix = nn.Parameter(torch.zeros(config.prefix_length, backbone.width))
        # A place is one attention in the graph: shared vertices have the same weights, but each place its own cache.
        places = 0
        self.messages = [[] for _ in range(len(config.vertices) + 1)]  # by destination: source, links with their places
        self.vertex_places = []
        by_destination = [[] for _ in self.messages]
        for edge in config.edges:
            by_destination[edge["destination"]].append(edge)
        for destination, edges in enumerate(by_destination):
            for edge in edges:
                links = []
                for number, kind in enumerate(edge["kinds"]):
                    link = LINKS[kind](backbone)
                    add(self, edge["name"] + (f".links.{number}" if len(edge["kinds"]) > 1 else ""), link)
                    links.append((link, places))
                    places += link.places
                self.messages[destination].append((edge["source"], links))
            if destination < len(config.vertices):
                group = config.vertices[destination]["group"]
                if group not in getattr(self, "vertices", nn.Module())._modules:
                    add(self, f"vertices.{group}", Vertex(own.get(group, backbone)))
                self.vertex_places.append((self.vertices._modules[group], places))
                places += own.get(group, backbone).blocks

    def get_input_embeddings(self):
        return self.embeddings.tokens

    def set_input_embeddings(self, value):
        self.embeddings.tokens = value

    def embed(self, tokens, positions, first):
        """tokens [B, T, D] with what stands before and what is added; positions [B, T] of the tokens."""
        if hasattr(self.embeddings, "positions"):
            tokens = tokens + self.embeddings.positions(positions)
        if first and self.config.prefix_length > 0:
            prefix = self.embeddings.prefix.to(tokens.dtype).expand(len(tokens), -1, -1)
            tokens = torch.cat((prefix, tokens), dim=1)
            before = torch.arange(self.config.prefix_length, device=positions.device).expand(len(tokens), -1)
            return tokens, torch.cat((before, positions + self.config.prefix_length), dim=1)
        return tokens, positions + self.config.prefix_length

    def gather(self, outputs, embedded, destination, step):
        """The scaled sum of the messages into a vertex or the head, added in float32."""
        total = None
        for source, links in self.messages[destination]:
            message = embedded if source < 0 else outputs[source]
            for link, place in links:
                message = link(message, step, place)
            message = message.to(torch.promote_types(message.dtype, torch.float32))
            total = message if total is None else total + message
        return (total * self.config.input_scales[destination]).to(embedded.dtype)

    def hidden(self, input_ids, attention_mask, position_ids, inputs_embeds, cache):
        """What the head reads, [B, T, D], without the prefix."""
        tokens = self.embeddings.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        rows, length = tokens.shape[:2]
        cached = 0 if cache is None else cache.get_seq_length()
        past = max(cached - self.config.prefix_length, 0)  # tokens before these
        if attention_mask is None:
            attention_mask = torch.ones(rows, past + length, dtype=torch.bool, device=tokens.device)
        seen = attention_mask.bool()
        if seen.shape[1] != past + length:
            raise ValueError(f"attention_mask has {seen.shape[1]} columns, there are {past + length} tokens so far")
        if position_ids is None:
            padding = seen.int().argmax(dim=1, keepdim=True)  # on the left
            position_ids = (torch.arange(past, past + length, device=tokens.device) - padding).clamp(min=0)
        embedded, positions = self.embed(tokens, position_ids.expand(rows, -1), first=cached == 0)
        before = torch.ones(rows, self.config.prefix_length, dtype=torch.bool, device=tokens.device)
        step = Step(self.mask(torch.cat((before, seen), dim=1), embedded.shape[1]), positions, cache)
        outputs = []
        for vertex, (module, place) in enumerate(self.vertex_places):
            outputs.append(module(self.gather(outputs, embedded, vertex, step), step, place))
        return self.gather(outputs, embedded, len(outputs), step)[:, -length:]

    @staticmethod
    def mask(seen, length):
        """seen [B, keys] -> [B, 1, length, keys]: causal; a query that would see nothing (padding) sees itself."""
        keys = torch.arange(seen.shape[1], device=seen.device)
        queries = keys[-length:, None]
        mask = (keys <= queries) & seen[:, None]
        return (mask | (~mask.any(-1, keepdim=True) & (keys == queries)))[:, None]


class LMNetForCausalLM(LMNetPreTrainedModel, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        if not config.tie_word_embeddings:
            self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return getattr(self, "head", None)

    def set_output_embeddings(self, value):
        self.head = value

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        labels=None, use_cache=None, logits_to_keep=0, **kwargs,
    ):
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if past_key_values is None and use_cache and labels is None:
            past_key_values = DynamicCache()
        hidden = self.hidden(input_ids, attention_mask, position_ids, inputs_embeds, past_key_values)
        if logits_to_keep:
            hidden = hidden[:, -logits_to_keep:] if isinstance(logits_to_keep, int) else hidden[:, logits_to_keep]
        head = self.embeddings.tokens.weight if self.config.tie_word_embeddings else self.head.weight
        logits = F.linear(hidden, head)
        loss = None  # of the token that follows; -100 = none
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)

    def prepare_inputs_for_generation(
        self, input_ids, past_key_values=None, attention_mask=None, use_cache=True, logits_to_keep=None, **kwargs
    ):
        cached = 0 if past_key_values is None else past_key_values.get_seq_length()
        return {
            "input_ids": input_ids[:, max(cached - self.config.prefix_length, 0) :],
            "attention_mask": attention_mask,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
            "logits_to_keep": logits_to_keep or 0,
        }


class LMNetForSequenceClassification(LMNetPreTrainedModel):
    """Class logits at the last token before the padding on the right."""

    def __init__(self, config):
        super().__init__(config)
        self.head = nn.Linear(config.hidden_size, config.classes, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, inputs_embeds=None, labels=None, **other):
        if attention_mask is None and input_ids is not None and self.config.pad_token_id is not None:
            attention_mask = input_ids != self.config.pad_token_id
        hidden = self.hidden(input_ids, attention_mask, position_ids, inputs_embeds, None)
        last = torch.full((len(hidden),), hidden.shape[1] - 1, device=hidden.device)
        if attention_mask is not None:
            last = (attention_mask.int() * torch.arange(1, hidden.shape[1] + 1, device=hidden.device)).argmax(dim=1)
        logits = self.head(hidden[torch.arange(len(hidden), device=hidden.device), last])
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
