"""A head office in 60 lines: says a price, reads the acks. Needs paho-mqtt and cryptography. Usage: hq_publisher.py SETTINGS.json SKU MINOR

SETTINGS: {"host", "port", "store", "kid", "private_key" (hex), "incarnation", "currency"}; it also keeps "seq", "rev" and the chain there.
"""

import base64
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PATH, SKU, AMOUNT = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
state = {"seq": 0, "rev": 0, "chain": ["", 0, "0" * 64]} | json.loads(PATH.read_text())  # chain: store incarnation, seq, hash booked last
key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(state["private_key"]))
partition = f"{hashlib.sha256(state['store'].encode()).digest()[0] % 32:02d}"
KINDS = ("sale", "return", "void", "stock", "label", "ack", "alert")
base = f"rs/1/{partition}/{state['store']}/"


def message(tail, kind, data, **place):
    """The line of signature, and the line that it signs."""
    now = time.time_ns() // 1_000_000
    ident = bytearray(now.to_bytes(6, "big") + os.urandom(10))
    ident[6], ident[8] = 0x70 | ident[6] & 15, 0x80 | ident[8] & 63  # UUIDv7
    text = ident.hex()
    header = {"specversion": "1.0", "id": "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])), "source": "hq/60-lines"}
    header |= {"type": kind, "subject": state["store"], "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "data": data}
    signed = json.dumps(header | {"incarnation": state["incarnation"]} | place).encode()
    seal = key.sign(b"shelfd-hq-v1\0" + tail.encode() + b"\0" + signed)
    return b"v1 %s %s\n" % (state["kid"].encode(), base64.urlsafe_b64encode(seal).rstrip(b"=")) + signed


def take(client, userdata, received):
    """Book events in order, tell the store that it may forget them, end when the price is in force or refused."""
    batch, done = json.loads(received.payload), None
    if batch["incarnation"] != state["chain"][0]:
        state["chain"] = [batch["incarnation"], 0, "0" * 64]
    for event in batch["events"]:
        parts = [batch["incarnation"], *(str(event[name]) for name in ("seq", "kind", "id", "time", "data", "prev_hash"))]
        fits = event["prev_hash"] == state["chain"][2] and hashlib.sha256("\n".join(parts).encode()).hexdigest() == event["hash"]
        if event["seq"] != state["chain"][1] + 1 or not fits:
            continue  # early, known or damaged: the store says again what is not acknowledged
        state["chain"] = [batch["incarnation"], event["seq"], event["hash"]]  # a real head office books `event` for good here
        ack = json.loads(event["data"]) if event["kind"] == "ack" else {"stream": ""}
        if (
            ack["stream"] == "price"
            and ack.get("first", ack["seq"]) <= state["seq"] <= ack["seq"]
            and state["seq"] not in ack.get("except", [])
        ):
            print(ack["stage"], ack.get("reason", ""), flush=True)
            done = ack["stage"] if ack["stage"] in ("applied", "held", "rejected") else done
    told = {"store": state["store"], "incarnation": state["chain"][0], "seq_through": state["chain"][1], "last_hash": state["chain"][2]}
    keep()
    client.publish(base + "dn/ack", message("dn/ack", "ack.v1", told), qos=1)
    if done:
        client.disconnect()


def keep():
    fresh = PATH.with_suffix(".new")
    fresh.write_text(json.dumps(state))
    fresh.replace(PATH)


def say(client, *_):
    """The next message of stream "price": kept first, so that its number is never used for another one."""
    state["seq"], state["rev"] = state["seq"] + 1, state["rev"] + 1
    row = {"sku": SKU, "kind": "base", "price_id": f"60-{SKU}", "rev": state["rev"], "amount_minor": AMOUNT, "currency": state["currency"]}
    keep()
    place = {"stream": "price", "seq": state["seq"]}
    client.publish(base + "dn/price", message("dn/price", "price.batch.v1", {"rows": [row]}, **place), qos=1)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{state['store']}-60-lines", protocol=mqtt.MQTTv5)
client.on_message, client.on_subscribe = take, say
client.on_connect = lambda *_: client.subscribe([(base + f"up/{kind}", 1) for kind in KINDS])
client.connect(state["host"], state["port"])
client.loop_forever()
