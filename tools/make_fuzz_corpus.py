#!/usr/bin/env python3
"""Make the fuzz corpora that come from the golden vectors, and those of super-frames.

Usage: tools/make_fuzz_corpus.py        (from anywhere; writes test/fuzz/corpus/<target>/)

Names are stable, so running it again changes only what changed in the vectors. Files made by other
means (found by fuzzing) are left alone.
"""
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "test" / "fuzz" / "corpus"
VERB_OF = {"ERROR": 0x02, "OK": 0x03, "WHOIS": 0x04, "RENDEZVOUS": 0x05, "PUSH_DIRECT_PATHS": 0x10,
           "USER_MESSAGE": 0x14, "REMOTE_TRACE": 0x15}


def vectors(name):
    with open(ROOT / "test" / "vectors" / name, encoding="utf-8") as file:
        return json.load(file)


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48]
    (folder / name).write_bytes(data)


def put_rules(v):
    for i in (2, 40, 60, 90, 150, 200, 230, 260, 290, 320):
        put("rules", f"{i}-{v[i]['name']}", v[i]["source"].encode())
    for c in v:
        if "better" in c and c["group"] in ("lexical", "macros", "tags"):
            put("rules", c["name"], c["source"].encode())


def put_crypto(v):
    for i in (0, 1, 5, 9, 11):
        put("inetaddr", f"text-{i}", b"\x01" + v["inetaddress"][i]["text"].encode())
    put("inetaddr", "text-mac", b"\x01" + v["mac"][0]["mac"].encode())
    put("inetaddr", "text-network", b"\x01" + v["mac"][0]["network"].encode())
    for i in (0, 1, 3, 4, 6, 8, 10):
        put("inetaddr", f"binary-{i}", b"\0" + bytes.fromhex(v["inetaddress_decode"][i]["bytes"]))
    for i in (0, 1, 2):
        put("identity", f"binary-{i}",
            b"\0" + bytes.fromhex(v["identity_binary_cases"][i]["binary"]))
    put("identity", "text-public", b"\x01" + v["identities"][0]["public"].encode())
    put("identity", "text-secret", b"\x01" + v["identities"][1]["secret"].encode() + b"\r\n")
    for i in (0, 4, 8):
        put("identity", f"text-lenient-{i}",
            b"\x01" + v["identity_lenient_cases"][i]["string"].encode())
    for i, c in enumerate(v["dictionary_get"]):
        if i % 2 == 0:
            put("dict", c["name"], bytes.fromhex(c["text_hex"]))
    put("dict", "all-bytes", bytes.fromhex(v["dictionary_encode"][4]["text_hex"]))
    for c in v["decompression"]:
        put("lz4", "block-" + c["name"], bytes.fromhex(c["before"])[28:])
    for i in (3, 7, 9):
        put("lz4", "plain-" + v["compression"][i]["name"],
            bytes.fromhex(v["compression"][i]["before"])[28:])


def put_vl1(v):
    for i, c in enumerate(v["hello"]):
        payload = bytearray.fromhex(c["payload"])
        if "crypt_plain" in c["fields"]:
            at = c["fields"]["crypt_start_offset"] - 28
            payload[at:] = bytes.fromhex(c["fields"]["crypt_plain"])
        put("hello", f"hello-{i}", b"\0" + bytes(payload))
    for i, c in enumerate(v["ok_hello"]):
        put("hello", f"ok-{i}", b"\x01" + bytes.fromhex(c["payload"])[9:])
    for c in v["packets"] + v["errors"]:
        if c["verb_name"] in VERB_OF:
            put("vl1msg", c["name"], bytes([VERB_OF[c["verb_name"]]]) + bytes.fromhex(c["payload"]))
    put("vl1msg", "qos", b"\x14" + bytes(range(30)))
    put("vl1msg", "any-verb", b"\xff" + bytes(range(40)))
    for c in v["world_parse"]:
        put("world", c["name"], bytes.fromhex(c["bytes"]))
    put("world", "default planet", bytes.fromhex(v["default_planet"]["serialized"]))
    put("peer_cache", "one-path", bytes.fromhex(v["peer_cache"]["bytes"]))
    none = bytes.fromhex(v["peer_cache"]["bytes"])[:80] + b"\0\0"
    put("peer_cache", "no-path", none)
    put("peer_cache", "many-paths", none[:80] + b"\0\x50" + 80 * bytes.fromhex("04010203042709"))
    relay = v["tcp_relay"]
    stream = (relay["client_hello"] + relay["ipv4_frame"]["frame"] + "1703030000"
              + relay["ipv6_frame_server_to_client"]["frame"] + "170303000100")
    put("tcp_relay", "stream", bytes.fromhex(stream))
    put("tcp_relay", "bad-type", bytes.fromhex("17030300050511223344"))


def put_vl2_frames(v):
    verbs = {"FRAME": 6, "EXT_FRAME": 7, "MULTICAST_LIKE": 9, "MULTICAST_GATHER": 13,
             "MULTICAST_FRAME": 14}
    for c in v["inbound"]:
        payload = bytes.fromhex(c["payload"])
        if c["verb"] in verbs and len(payload) < 1000:
            put("frame", c["name"], bytes([verbs[c["verb"]]]) + payload)
        if c["verb"] == "NETWORK_CREDENTIALS":
            put("credentials", c["name"], payload)
        for i, reply in enumerate(c["expect"]["sent"]):
            if reply["verb"] == "OK" and reply["payload"][:2] in ("0d", "0e"):
                data = bytes.fromhex(reply["payload"])
                put("frame", f"ok-{i}-" + c["name"], bytes([data[0] | 0x80]) + data[9:])


def put_vl2_rules(v):
    for c in v["rules"]["sets"]:
        put("rule", c["name"], bytes.fromhex(c["hex"]))
    put("rule", "each", bytes.fromhex("".join(c["hex"] for c in v["rules"]["each"])))
    types = {0x0800: 0, 0x86dd: 1, 0x0806: 2}
    groups = {}
    for c in v["filter"]:
        n = groups[c["group"]] = groups.get(c["group"], 0) + 1
        rules = bytes.fromhex(c["rulesHex"])
        choice = types.get(c["etherType"], 3) | (0x80 if c["direction"] == "in" else 0)
        if n % 8 == 1 and len(c["payload"]) < 400:
            put("filter", f"{c['group']}-{n}", len(rules).to_bytes(2, "big") + bytes([choice])
                + rules + bytes.fromhex(c["payload"]))
    for i, c in enumerate(v["outbound"]):
        if c["toTap"] and c["etherType"] == 0x86dd:
            put("filter", f"ndp-{i}", bytes([0, 2, 1, 1, 0]) + bytes.fromhex(c["payload"]))


def put_vl2(v):
    put_vl2_frames(v)
    put_vl2_rules(v)
    for c in v["networkConfigs"]:
        put("netconf", c["name"], bytes.fromhex(c["dictionary"]))
    put("netconf", "meta", v["configRequests"][0]["metadataText"].encode())
    push = v["configChunks"]["sent"][1]["packets"][0]["payload"]
    put("config_chunk", "push", b"\0" + bytes.fromhex(push))
    put("config_chunk", "legacy", b"\0" + bytes.fromhex("14d76e47dc0000010003763d37"))
    put("config_chunk", "request",
        b"\x01" + bytes.fromhex(v["configRequests"][1]["sent"][0]["payload"]))
    put("config_chunk", "ack", b"\x02" + bytes(16))


def ip_frame(v6, udp, seq, size, flags=0x10, ident=7, options=b""):
    """An IP packet of one flow; lengths are right, checksums are left to the target."""
    if udp:
        upper = bytes.fromhex("03e807d0") + (8 + size).to_bytes(2, "big") + b"\xab\xcd"
    else:
        upper = (bytes.fromhex("03e807d0") + seq.to_bytes(4, "big") + bytes.fromhex("01020304")
                 + bytes([(5 + len(options) // 4) << 4, flags]) + bytes.fromhex("1234abcd0000")
                 + options)
    upper += bytes(i & 0xff for i in range(size))
    protocol = 17 if udp else 6
    if v6:
        return (bytes.fromhex("60000000") + len(upper).to_bytes(2, "big") + bytes([protocol, 64])
                + bytes(range(32)) + upper)
    return (b"\x45\0" + (20 + len(upper)).to_bytes(2, "big") + ident.to_bytes(2, "big")
            + (b"\x40\0" if udp else b"\0\0") + bytes([64, protocol]) + b"\0\0"
            + bytes.fromhex("0a0000010a000002") + upper)


def put_super_frames():
    for v6 in (0, 1):
        for udp in (0, 1):
            name = f"v{6 if v6 else 4}-{'udp' if udp else 'tcp'}"
            l3 = 40 if v6 else 20
            gso = 5 if udp else (4 if v6 else 1)
            frame = ip_frame(v6, udp, 1000, 100, 0x99, options=b"" if udp else bytes(12))
            for tag in (b"", bytes.fromhex("81000064")):
                start = 14 + len(tag) + l3
                vnet = (bytes([1, gso]) + b"\0\0" + (30).to_bytes(2, "little")
                        + start.to_bytes(2, "little") + bytes([6 if udp else 16, 0]))
                put("split", name + ("-tag" if tag else ""),
                    vnet + b"\x22" * 12 + tag + (b"\x86\xdd" if v6 else b"\x08\0") + frame)
            train = b""
            for i in range(5):
                size = 20 if i == 4 else 30
                packet = ip_frame(v6, udp, 1000 + 30 * i, size, 0x10, 7 + i)
                train += bytes([v6]) + len(packet).to_bytes(2, "big") + packet
            put("merge", name, train)
            put("merge", name + "-twice", train + train)
    put("split", "partial", bytes.fromhex("01000000000022000600") + b"\x22" * 12 + b"\x08\0"
        + ip_frame(0, 1, 0, 21))
    put("split", "extensions", bytes.fromhex("0104000014003e001000") + b"\x22" * 12
        + bytes.fromhex("86dd6000000000400040") + bytes(32) + bytes.fromhex("0600010400000000")
        + ip_frame(0, 0, 5, 44)[20:])
    other = ip_frame(0, 0, 9, 30, 0x12)
    put("merge", "others", b"".join(
        bytes([c]) + len(other).to_bytes(2, "big") + other for c in (0, 8, 4, 0x10, 3, 2, 1)))


def main():
    put_super_frames()
    put_crypto(vectors("identity-crypto.json"))
    put_rules(vectors("rules-language.json"))
    put_vl1(vectors("vl1.json"))
    put_vl2(vectors("vl2.json"))


if __name__ == "__main__":
    main()
