"""Where a reranker's files lie on this machine, each proved to be the one that its profile names.

Knows how a RerankProfile is told to embed, which finds and verifies models; not what is in them.
"""

from pathlib import Path

from instructsearch.embed import weights
from instructsearch.embed.profile import Profile
from instructsearch.rerank.profile import RerankProfile


def as_embed(profile: RerankProfile) -> Profile:
    """Return what embed needs to know of a reranker's model: where it is, its window, its padding."""
    return Profile(
        name=profile.name,
        model=profile.model,
        revision=profile.revision,
        files=profile.files,
        padding_side=profile.padding_side,
        max_tokens=profile.max_tokens,
        dim=1,
    )


def locate(profile: RerankProfile) -> Path:
    """Return the folder of a profile's model.

    Raises:
        ModelNotFound: it is not on this machine and cannot be fetched.
        ModelDamaged: a file is missing or differs from the digest in the profile.
    """
    return weights.locate(as_embed(profile))


def locate_delta(profile: RerankProfile) -> Path:
    """Return the folder of what training changed in a profile's model; errors as for `locate`."""
    if profile.delta_files:
        return weights.locate(Profile(name=profile.name, model=profile.delta, files=profile.delta_files, dim=1))
    return weights.model_folder(profile.delta)
