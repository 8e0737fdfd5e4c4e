"""Chooses which channels of the image go into which inputs of the network."""

from __future__ import annotations

import logging

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import check_channel
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.errors import InputError
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.request import Request

log = logging.getLogger(__name__)


def choose_channels(image: ImageInfo, request: Request) -> tuple[ModelCard, tuple[int, ...]]:
    """The model's card, and the image's channels in the order of its network's inputs."""
    asked = request.channel
    wanted = [asked] if isinstance(asked, int | str) else list(asked or ())
    card = load_card(str(request.model))
    more = min(max(len(wanted) - card.channels, 0), card.optional_channels)
    card = card.model_copy(update={"channels": card.channels + more})
    if not wanted and card.channels == 1:
        wanted = [0]
        if image.channels > 1 and request.maps is None:
            names = f" ({', '.join(image.channel_names)})" if image.channel_names else ""
            log.warning(
                "the image has %d channels%s; the first is taken; to take another, give --channel",
                image.channels,
                names,
            )
    elif not wanted and set(card.channel_names) <= set(image.channel_names):
        wanted = list(card.channel_names)
    channels = tuple(check_channel(image, channel) for channel in wanted)
    if channels and request.maps is not None:
        return card, channels
    if len(channels) != card.channels:
        named = f" ({', '.join(card.channel_names)})" if card.channel_names else ""
        choice = ", or ".join([f"0 to {image.channels - 1}", *filter(None, [", ".join(image.channel_names)])])
        raise InputError(
            f"model {request.model} takes {count(card.channels, 'input channel')}{named}, but {len(channels)} were "
            f"given; give --channel once for each, in this order. {image.path} has {choice}"
        )
    if card.channel_names and set(wanted) == set(card.channel_names) and list(wanted) != list(card.channel_names):
        names = ", ".join(card.channel_names)
        log.warning("model %s takes the channels %s, which were given in another order", request.model, names)
    return card, channels
