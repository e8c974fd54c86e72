"""What one writes in an afternoon: plain paho, one `executemany` for each table, commit, acknowledge. The rows are the worker's.

It checks nothing: no hash, no order, no chain, no second telling of a sale; it says nothing to the store, and keeps no lease.
`python bench/fleet_plain.py PORT DATABASE`
"""

from __future__ import annotations

import json
import sys
from typing import Any

import paho.mqtt.client as paho
import psycopg
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

IDLE_S = 0.005
BATCH_MESSAGES = 25  # 500 events; the broker has 32 on their way


def main(port: int, url: str) -> None:
    db = psycopg.connect(url)
    waiting: list[paho.MQTTMessage] = []

    def flush(client: paho.Client) -> None:
        events: list[tuple[Any, ...]] = []
        sales: list[tuple[Any, ...]] = []
        stock: list[tuple[Any, ...]] = []
        for message in waiting:
            batch = json.loads(message.payload)
            store, incarnation = batch["store"], batch["incarnation"]
            for event in batch["events"]:
                names = ("seq", "kind", "id", "time", "data", "hash")
                events.append((store, incarnation, *(event[name] for name in names)))
                body = json.loads(event["data"])
                sales.append((store, body["sale_id"], incarnation, event["seq"], body["business_date"], body["total_minor"], ""))
                stock += [(store, line["sku"], -line["quantity"]) for line in body["lines"]]
        with db.cursor() as cursor:
            cursor.executemany("INSERT INTO event VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", events)
            cursor.executemany("INSERT INTO sale VALUES (%s, %s, %s, %s, %s, %s, %s)", sales)
            cursor.executemany(
                "INSERT INTO stock VALUES (%s, %s, %s) ON CONFLICT (store, sku) DO UPDATE SET on_hand = stock.on_hand + excluded.on_hand",
                stock,
            )
        db.commit()
        for message in waiting:
            client.ack(message.mid, message.qos)
        waiting.clear()

    def on_message(client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        waiting.append(message)
        if len(waiting) >= BATCH_MESSAGES:
            flush(client)

    def on_connect(client: paho.Client, *_: object) -> None:
        client.subscribe("rs/1/+/+/up/#", qos=1)

    def on_subscribe(*_: object) -> None:
        print("subscribed", flush=True)

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="plain", protocol=paho.MQTTv5, manual_ack=True)
    client.on_message = on_message
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = 1000
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)
    while True:
        before = len(waiting)
        client.loop(IDLE_S)
        if waiting and len(waiting) == before:  # nothing more for a moment: what is there is all that the broker lets go
            flush(client)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
