"""What the broker is told: who may read and write what. Pure: names in, the text of configuration files out.

A store may read its own `dn/#`, its zone's chunks and whether head office is there, and write its own `up/#`; head office everything
below the prefix. The user name is the certificate's common name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HQ_USER: Final = "hq"


def mosquitto_acl(prefix: str) -> str:
    """One file for all stores: `%u` is the user name."""
    return (
        "# Made by shelfd hq. A store's name is a whole level of its topics.\n"
        f"pattern read {prefix}/+/%u/dn/#\n"
        f"pattern write {prefix}/+/%u/up/#\n"
        f"pattern read {prefix}/zone/+/bulk\n"
        f"pattern read {prefix}/hq/state\n"
        "\n"
        f"user {HQ_USER}\n"
        f"topic readwrite {prefix}/#\n"
    )


def mosquitto_conf(folder: str) -> str:
    """A listener with client certificates, sessions that survive, and queues that do not drop silently at 1,000."""
    return (
        "# Made by shelfd hq. mosquitto is for one store or a few: it has no cluster, see the how-to.\n"
        "listener 8883\n"
        f"cafile {folder}/authority.crt\ncertfile {folder}/broker.crt\nkeyfile {folder}/broker.key\n"
        "tls_version tlsv1.3\nrequire_certificate true\nuse_identity_as_username true\nallow_anonymous false\n"
        f"acl_file {folder}/mosquitto.acl\n"
        "persistence true\nautosave_on_changes true\nautosave_interval 1\npersistent_client_expiration 14d\n"
        "max_queued_messages 100000\nmax_queued_bytes 268435456\nmax_inflight_messages 100\nmessage_size_limit 1048576\n"
    )


def nats_users(prefix: str, stores: Mapping[str, str]) -> str:
    """`stores`: store to partition. NATS knows topics as subjects, with a dot for each slash."""
    root = prefix.replace("/", ".")
    users = [
        _user(HQ_USER, [f"{root}.>"], [root, f"{root}.>", "$MQTT.sub.>"]),
        *(_store_user(root, store, partition) for store, partition in sorted(stores.items())),
    ]
    return "# Made by shelfd hq; read it with: include nats-users.conf\nauthorization {\n  users = [\n" + "".join(users) + "  ]\n}\n"


def nats_conf(folder: str, secret: str) -> str:
    """One node; the names and routes of the others are for the one who places it. Nodes know each other by `secret`."""
    return (
        "# Made by shelfd hq. Three of these are a cluster: give each its own server_name and name the others as routes.\n"
        "server_name: hq-1\n"
        'listen: "127.0.0.1:4222"\n'
        "max_payload: 1MB\n"
        "jetstream {\n"
        '  store_dir: "/var/lib/nats", max_mem: 256MB, max_file: 50GB, sync_interval: always\n'
        "  limits { default_max_consumers: -1 }  # one for each store and partition; 2.15 brought a limit of 1,000\n"
        "}\n"
        "cluster {\n"
        "  name: hq\n"
        '  listen: "0.0.0.0:6222"  # for the nodes alone: what is said here is not encrypted\n'
        f'  authorization {{ user: "node", password: "{secret}" }}\n'
        f'  routes: ["nats-route://node:{secret}@hq-2:6222", "nats-route://node:{secret}@hq-3:6222"]\n'
        "}\n"
        "mqtt {\n"
        '  listen: "0.0.0.0:8883"\n'
        "  tls {\n"
        f'    ca_file: "{folder}/authority.crt", cert_file: "{folder}/broker.crt", key_file: "{folder}/broker.key"\n'
        "    verify_and_map: true\n"
        "  }\n"
        '  ack_wait: "30s"\n'
        "  max_ack_pending: 100\n"
        "}\n"
        f'include "{folder}/nats-users.conf"\n'
    )


def _store_user(root: str, store: str, partition: str) -> str:
    own = f"{root}.{partition}.{store}"
    return _user(store, [f"{own}.up.>"], [f"{own}.dn", f"{own}.dn.>", f"{root}.zone.*.bulk", f"{root}.hq.state", "$MQTT.sub.>"])


def _user(name: str, publish: list[str], subscribe: list[str]) -> str:
    """The name is the certificate's subject. `$MQTT.sub.>`: where the server delivers what is subscribed with QoS 1."""
    out, into = (", ".join(f'"{subject}"' for subject in subjects) for subjects in (publish, subscribe))
    return f'    {{ user: "CN={name}", permissions: {{ publish: {{ allow: [{out}] }}, subscribe: {{ allow: [{into}] }} }} }}\n'
