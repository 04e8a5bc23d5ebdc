"""The configuration of a language model network: a graph whose vertices are pre-trained decoders."""

from transformers import PretrainedConfig


class LMNetConfig(PretrainedConfig):
    """
    backbone: the `config.json` of the decoder that the vertices and the edges are made of (gpt2, llama or qwen2).
    group_backbones: backbones of single vertex groups, where they differ.
    vertices: in order of execution, each {name, group, level}; those of one group share their weights.
    edges: each {name, source, destination, kinds}; source -1 is the embedding, destination len(vertices) the head;
        kinds are the links of a chain, each block, attention, mlp or linear, none for the vector itself.
    input_scales: for each vertex, then the head, what the sum of its messages is multiplied with.
    prefix_length: the number of vectors that stand before the tokens.
    classes: 0 for a language head, else the number of classes.
    num_hidden_layers: the places with a cache of their own: every block of every vertex, every edge with attention.
    """

    model_type = "lmnet"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self, backbone=None, group_backbones=None, vertices=None, edges=None, input_scales=None, prefix_length=0,
        classes=0, vocab_size=0, hidden_size=0, num_hidden_layers=0, pad_token_id=None, tie_word_embeddings=False,
        use_cache=True, **kwargs,
    ):
        self.backbone = backbone or {}
        self.group_backbones = group_backbones or {}
        self.vertices = vertices or []
        self.edges = edges or []
        self.input_scales = input_scales or []
        self.prefix_length = prefix_length
        self.classes = classes
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.use_cache = use_cache
        super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs)
