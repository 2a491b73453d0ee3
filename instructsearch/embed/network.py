"""The network of a pooled embedder in torch: token ids and pooling weights in, vectors out.

Knows what follows what; nothing of texts, templates or batching, nor of files. Norms and pooling are in float32
whatever the weights are in.
"""

from pathlib import Path

from torch import Tensor, nn

from instructsearch.embed.backbone import load_backbone
from instructsearch.embed.layers import post_layers
from instructsearch.embed.profile import Profile
from instructsearch.records import Role


class Network(nn.Module):
    """A transformer followed by weighted pooling and the profile's post layers. `width` is what it gives."""

    def __init__(self, profile: Profile, folder: Path, role: Role = "document") -> None:
        super().__init__()
        self.backbone = load_backbone(profile, folder, role)
        names = tuple(name.replace("{dim}", str(profile.dim)) for name in profile.post)
        self.post, self.width = post_layers(folder, names, int(self.backbone.config.hidden_size))

    def forward(self, ids: Tensor, attention: Tensor, weights: Tensor) -> Tensor:
        """Return (rows, width) float32; the arguments are (rows, length), and each row of weights sums to one."""
        states = self.backbone(input_ids=ids, attention_mask=attention).last_hidden_state
        vectors: Tensor = (weights.unsqueeze(1) @ states.float()).squeeze(1)
        for layer in self.post:
            vectors = layer(vectors)
        return vectors
