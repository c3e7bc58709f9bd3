"""Which pictures of an H.264 stretch its targets need: those that they may refer to, and so on, by the slice headers.

Where headers cannot be followed to the end, every picture is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from video_assets.video.h264_headers import H264Headers, NotFollowed, Slice

Pictures = Mapping[int, list[Slice]]
"""Pictures in decode order, by their place in the stretch: the slices of each."""


def stand_ins(headers: H264Headers, packets: Sequence[memoryview], targets: Sequence[bool]) -> list[bytes | None]:
    """For each packet of a stretch what may be decoded in its place, so that no target changes; None where nothing may.

    Args:
        packets: in decode order, the first an IDR picture.
        targets: which of them are wanted. Of the others, those that none refers to are left to the decoder to skip.
    """
    found: list[bytes | None] = [None] * len(packets)
    try:
        pairs = enumerate(zip(packets, targets, strict=True))
        slices = {at: headers.slices(packet) for at, (packet, wanted) in pairs if wanted or headers.reference(packet)}
        needed = {at for at in slices if targets[at]}
        uses = dict(_follow(headers, slices))
        for at in reversed(slices):
            if at in needed:
                needed |= uses[at]
        for at in slices.keys() - needed:
            found[at] = headers.stand_in(packets[at], slices[at][0])
    except NotFollowed:
        return [None] * len(packets)
    return found


def _follow(headers: H264Headers, slices: Pictures) -> Iterator[tuple[int, set[int]]]:
    """Each picture with those that it may refer to (ITU-T H.264, 8.2.4 and 8.2.5)."""
    orders = dict(_orders(headers, slices))
    around: list[int] = []
    due = -1
    for at, parts in slices.items():
        head = parts[0]
        if head.idr:
            around, due = [], 0
        if head.frame_num != due or not all(part.same_picture(head) for part in parts):
            raise NotFollowed
        numbers = {slices[other][0].frame_num: other for other in around}
        if len({orders[other] for other in (at, *around)}) <= len(around):  # Their lists are not told.
            raise NotFollowed
        distances = {other: orders[other] - orders[at] for other in around}
        yield at, {used for part in parts for used in _used(headers, part, distances, numbers)}
        if head.reference:
            around = [at, *_still_there(headers, head, around, numbers)]
            due = (due + 1) % headers.numbers


def _orders(headers: H264Headers, slices: Pictures) -> Iterator[tuple[int, int]]:
    """Each picture's number in the order of presentation (8.2.1.1)."""
    last_high = last_low = 0
    for at, (head, *_) in slices.items():
        if head.idr:
            last_high = last_low = 0
        high, low, half = last_high, head.order_lsb, headers.orders // 2
        if last_low - low >= half:
            high += headers.orders
        elif low - last_low > half:
            high -= headers.orders
        if head.reference:
            last_high, last_low = high, low
        yield at, high + low + min(head.order_bottom, 0)


def _used(headers: H264Headers, part: Slice, distances: Mapping[int, int], numbers: Mapping[int, int]) -> Iterator[int]:
    """What a slice may refer to: the first entries of its lists (8.2.4).

    Args:
        distances: how much later than the slice's picture each reference is presented, the last decoded first.
        numbers: which reference has which frame number.
    """
    for count, changes, entries in zip(part.active, part.changes, _lists(part, distances), strict=True):
        number = part.frame_num
        for place, change in enumerate(changes):
            number = (number + change) % headers.numbers
            if number not in numbers:
                raise NotFollowed
            moved = numbers[number]
            entries = [*entries[:place], moved, *(entry for entry in entries[place:] if entry != moved)]
        if len(entries) < count:
            raise NotFollowed
        yield from entries[:count]


def _lists(part: Slice, distances: Mapping[int, int]) -> list[list[int]]:
    """The reference lists as they are without changes."""
    if len(part.active) < 2:
        return [list(distances)][: len(part.active)]
    nearest = sorted(distances, key=lambda at: abs(distances[at]))
    before, after = ([at for at in nearest if (distances[at] > 0) == later] for later in (False, True))
    first, second = before + after, after + before
    if first == second and len(second) > 1:
        second = [second[1], second[0], *second[2:]]
    return [first, second]


def _still_there(headers: H264Headers, head: Slice, around: list[int], numbers: Mapping[int, int]) -> Iterable[int]:
    """What is left of the references once a picture has joined them (8.2.5)."""
    if head.idr:
        return []
    if head.unmarked is None:
        return around[: headers.most_references - 1]
    ended = {numbers.get((head.frame_num - difference) % headers.numbers) for difference in head.unmarked}
    left = [at for at in around if at not in ended]
    if None in ended or len(left) >= headers.most_references:
        raise NotFollowed
    return left
