"""Restoration networks: what they are told, what they answer, and the table of them.

A network is one file and one line in `NETWORKS`. It is a torch module made of a `NetworkSpec`:

``encode(candidates) -> features``
    ``(B, K, h, w)`` aligned candidates, any K >= 1 in any order, to ``(B, F, h, w)``; once per set.
``forward(images, features, mean, condition) -> (images, log_variance)``
    Replicas ``(B, R, h, w)``, the candidates' mean ``(B, 1, h, w)`` and the numbers of
    `CONDITIONS` ``(B, 3)`` to restored replicas ``(B, R, h, w)`` and the logarithm of the squared
    error expected of their mean, ``(B, 1, h, w)``.

Images are in units in which their mean square is about one; any height and width.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from napari_i2ipr.errors import ConfigError

if TYPE_CHECKING:
    from napari_i2ipr.refine.networks._base import Network

NETWORKS = {
    "unet": "napari_i2ipr.refine.networks.unet:UNet",
    "nafnet": "napari_i2ipr.refine.networks.nafnet:NAFNet",
    "published": "napari_i2ipr.refine.networks.published:Published",
}
"""Networks by name, as ``module:class`` so that torch loads when one is built."""

CONDITIONS = ("time", "log noise level", "one over the number of candidates")
"""The numbers a network is conditioned on."""


class NetworkSpec(BaseModel):
    """Which network, and how large."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: str = Field("unet", description="A name of the table of networks.")
    widths: tuple[int, ...] = Field(
        (32, 64, 128, 256), min_length=1, description="Channels of each level, finest first."
    )
    blocks: tuple[int, ...] = Field((2, 2, 2, 3), min_length=1, description="Blocks of each level, on either way.")
    set_width: int = Field(16, ge=1, le=512, description="Channels that each candidate is encoded to.")
    replicas: int = Field(3, ge=1, le=16, description="Images that evolve together.")
    steps_table: int = Field(
        0, ge=0, le=64, description="Times for which data consistency has a weight of its own; 0: a curve over time."
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NETWORKS:
            raise ConfigError(f"the network {name!r}", expected="one of " + ", ".join(NETWORKS))
        return name

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the table where there is none: fingerprints and cards are older than the table."""
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if name != "steps_table" or value}


def build(spec: NetworkSpec) -> Network:
    """A network of random weights.

    Raises
    ------
    ConfigError
        When widths and blocks name different numbers of levels.
    """
    if len(spec.widths) != len(spec.blocks):
        raise ConfigError(f"{len(spec.widths)} widths and {len(spec.blocks)} blocks", expected="one of each a level")
    module, name = NETWORKS[spec.name].split(":")
    network: Network = getattr(import_module(module), name)(spec)
    return network
