#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""reader.py SPARE: what is on a spare, as JSON. Knows docs/format.md and nothing of our code."""

import json
import struct
import sys

MAGIC = b"dm-remap\x89\r\n\x1a\nv1\0"
BLOCK = 4096
ENTRIES = 254
SLOTS = 0x3FFFFFFF
GENERATIONS = 2 ** 63 - 2 ** 48

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data, crc=0xFFFFFFFF):
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc


def text(data):
    return data.split(b"\0")[0].decode()


def refuse_unknown(block, s, zone):
    """Is this block in the superblock's zone a reason not to use any of it?"""
    if block[:16] != MAGIC or crc32c(block[:16] + bytes(4) + block[20:]) != struct.unpack_from(
            "<I", block, 16)[0]:
        return
    version, generation, uuid = struct.unpack_from("<IQ16s", block, 20)
    if version != 1:
        sys.exit(f"version {version}")
    incompat = struct.unpack_from("<Q", block, 184)[0]
    newer = generation > s["generation"] if uuid == s["uuid"] else zone == 0
    if incompat & ~1 and newer:
        sys.exit(f"unknown features {incompat:#x}")


def super_of(block, sector):
    """The superblock that was read at a sector, or None."""
    if block[:16] != MAGIC:
        return None
    crc, version = struct.unpack_from("<II", block, 16)
    if crc32c(block[:16] + bytes(4) + block[20:]) != crc or version != 1:
        return None
    s = {}
    s["generation"], s["uuid"], s["label"] = struct.unpack_from("<Q16s32s", block, 24)
    s["label"] = text(s["label"])
    s["block_size"], s["sector_size"] = struct.unpack_from("<II", block, 80)
    s["data_sectors"], s["spare_sectors"], s["zone_sectors"] = struct.unpack_from("<QQQ", block, 88)
    s["zone_start"] = struct.unpack_from("<5Q", block, 112)
    s["slots"], s["tables"], s["tables_used"] = struct.unpack_from("<III", block, 152)
    s["compat"], s["ro_compat"], s["incompat"], s["created"] = struct.unpack_from("<4Q", block, 168)
    for i, name in enumerate(("data_wwn", "data_serial", "data_partuuid", "data_fsuuid")):
        s[name] = text(block[200 + 128 * i:328 + 128 * i])
    grown = struct.unpack_from("<I", block, 712)[0]
    ends = list(struct.unpack_from("<15Q", block, 720))[:grown] + [s["spare_sectors"]]
    s["formatted"] = ends[0]
    s["bands"] = bands_of(s, ends)
    places = [start + 8 * (s["generation"] & 1) for start in s["zone_start"]]
    right = s["incompat"] == (grown > 0) and 0 < s["generation"] < GENERATIONS
    return s if right and sector in places else None


def layout_of(sectors, per_slot, units, most):
    """Zones and slots, so many at most, of a band with zones of so many times 64 KiB, or None."""
    zone = 128 * units
    if 5 * zone > sectors:
        return None
    starts = [i * (sectors - zone) // 4 // 128 * 128 for i in range(5)]
    gaps = [(starts[i + 1] - starts[i] - zone) // per_slot for i in range(4)]
    return starts, zone, gaps, min(sum(gaps), 254 * (8 * units - 1), most)


def bands_of(s, ends):
    per_slot = s["block_size"] // 512
    bands, start, first = [], 0, 0
    for end in ends:
        start = (start + 127) // 128 * 128
        sectors, units, most = end - start, 1, SLOTS - ENTRIES * first
        # the least that has tables for all; or the one below, if that gives more
        while 254 * (8 * units - 1) < min((sectors - 5 * 128 * units) // per_slot, SLOTS):
            units += 1
        found = layout_of(sectors, per_slot, units, most)
        below = layout_of(sectors, per_slot, units - 1, most) if units > 1 else None
        if not found or below and below[3] > found[3]:
            found = below
        starts, zone, gaps, slots = found
        bands.append({"start": [start + at for at in starts], "zone": zone, "gaps": gaps,
                      "slots": slots, "first": first, "tables": -(-slots // ENTRIES)})
        first += bands[-1]["tables"]
        start = end
    return bands


def band_of(s, index):
    return [b for b in s["bands"] if b["first"] <= index][-1]


def table_of(block, s, index, letter):
    """Generation and entries of a table block, or None."""
    magic, crc, found, _, generation = struct.unpack_from("<4sIIIQ", block, 0)
    if magic != b"RMBT" or found != index or generation & 1 != letter:
        return None
    if not 0 < generation < GENERATIONS:
        return None
    if crc32c(block[:4] + bytes(4) + block[8:], crc32c(s["uuid"])) != crc:
        return None
    entries = []
    for e in range(ENTRIES):
        low, high, state, _, lost, seq = struct.unpack_from("<IHBBII", block, 32 + 16 * e)
        band = band_of(s, index)
        if state > 2 or (state and ENTRIES * (index - band["first"]) + e >= band["slots"]):
            return None
        entries.append((low | high << 32, state, lost, seq))
    return generation, entries


def slot_sector(s, slot):
    per_slot = s["block_size"] // 512
    band = band_of(s, slot // ENTRIES)
    slot -= ENTRIES * band["first"]
    for start, count in zip(band["start"], band["gaps"]):
        if slot < count:
            return start + band["zone"] + slot * per_slot
        slot -= count
    return None


def later(a, b):
    return 0 < (a - b) % 2 ** 32 < 2 ** 31


def newest(supers):
    return max(supers, key=lambda s: (s["generation"], supers.count(s)))


def same_spare(a, b):
    same = ("uuid", "block_size", "sector_size", "data_sectors", "formatted")
    return all(a[key] == b[key] for key in same)


def zone_blocks(data, s):
    """Both places of a superblock in each of its zones, as far as they are there."""
    for z, start in enumerate(s["zone_start"]):
        for at in (512 * start, 512 * start + BLOCK):
            if at + BLOCK <= len(data):
                yield z, at, data[at:at + BLOCK]


def latest_life(data, supers):
    """The newest superblock of the uuid that counts."""
    lives = []
    for uuid in {s["uuid"] for s in supers}:
        life = {"s": newest([s for s in supers if s["uuid"] == uuid]), "taken": False}
        life["zones"], life["seen"] = set(), set()
        own = []
        for z, at, block in zone_blocks(data, life["s"]):
            s = super_of(block, at // 512)
            if s and same_spare(s, life["s"]):
                life["zones"].add(z)
                own.append(s)
            life["taken"] |= s is not None and s["uuid"] != uuid
            if at % 65536:
                life["seen"].add(z)
        if own and newest(own)["generation"] >= life["s"]["generation"]:
            life["s"] = newest(own)
        lives.append(life)
    if not lives:
        sys.exit("no superblock")
    order = [(len(life["zones"]), life["s"]["created"]) for life in lives]
    best = lives[order.index(max(order))]
    alone = order.count(max(order)) == 1
    first = [life for life in lives if 0 in life["zones"]]
    if len(first) == 1 and not first[0]["taken"]:
        first = first[0]
        as_many = len(first["zones"]) == len(best["zones"])
        latest = all(life["s"]["created"] <= first["s"]["created"] for life in lives)
        not_own = len(first["seen"] - first["zones"])
        if (first is best and alone or as_many and len(first["zones"]) >= 3 or
                latest and (as_many or not_own <= 2)):
            best, alone = first, True
        else:
            alone = False
    if not alone:
        sys.exit("superblocks of several formats, and which is the latest is not to be told")
    for z, _, block in zone_blocks(data, best["s"]):
        refuse_unknown(block, best["s"], z)
    return best["s"]


def main(path):
    with open(path, "rb") as spare:
        data = spare.read()
    supers = []
    for at in range(0, len(data) - BLOCK + 1, 65536):
        for start in (at, at + BLOCK):
            s = super_of(data[start:start + BLOCK], start // 512)
            if s:
                supers.append(s)
    s = latest_life(data, supers)

    slots, newest = {}, {}
    lost_tables = 0
    for index in range(s["tables_used"]):
        copies = []
        band = band_of(s, index)
        for start in band["start"]:
            for letter in (0, 1):
                at = start * 512 + BLOCK * (2 + 2 * (index - band["first"]) + letter)
                found = table_of(data[at:at + BLOCK], s, index, letter)
                if found:
                    copies.append(found)
        if not copies:
            lost_tables += 1
            continue
        top = max(generation for generation, _ in copies)
        bodies = [entries for generation, entries in copies if generation == top]
        entries = max(bodies, key=bodies.count)
        for e, (block, state, lost, seq) in enumerate(entries):
            slot = ENTRIES * index + e
            if not state:
                continue
            slots[slot] = (block, state, lost, seq)
            if state == 1 and (block not in newest or later(seq, slots[newest[block]][3])):
                newest[block] = slot

    per_block, unit = s["block_size"] // 512, s["sector_size"] // 512
    out = []
    for slot, (block, state, lost, seq) in sorted(slots.items()):
        entry = {"slot": slot, "slot_sector": slot_sector(s, slot), "state": "bad", "lost": [],
                 "seq": seq}
        if state == 1:
            first = block * per_block
            entry["state"] = "mapped" if newest[block] == slot else "superseded"
            entry["sector"] = first
            entry["count"] = min(per_block, s["data_sectors"] - first)
            entry["lost"] = [first + unit * i for i in range(32) if lost >> i & 1]
        out.append(entry)
    hexed = s["uuid"].hex()
    json.dump({
        "uuid": "-".join((hexed[:8], hexed[8:12], hexed[12:16], hexed[16:20], hexed[20:])),
        "label": s["label"], "version": 1, "generation": s["generation"],
        "block_size": s["block_size"], "sector_size": s["sector_size"],
        "data_sectors": s["data_sectors"], "spare_sectors": s["spare_sectors"],
        "zone_sectors": s["zone_sectors"],
        "zones": [{"index": i, "sector": at} for i, at in enumerate(s["zone_start"])],
        "bands": [{"first_table": b["first"], "tables": b["tables"],
                   "first_slot": ENTRIES * b["first"], "slots": b["slots"],
                   "zone_sectors": b["zone"], "zones": b["start"]} for b in s["bands"]],
        "tables": s["tables"], "tables_used": s["tables_used"], "slots_total": s["slots"],
        "data_wwn": s["data_wwn"], "data_serial": s["data_serial"],
        "data_partuuid": s["data_partuuid"], "data_fsuuid": s["data_fsuuid"],
        "lost_tables": lost_tables, "entries": out,
    }, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
