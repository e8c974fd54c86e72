"""`[import]` and `[rest]`: what is accepted, and that a mistake is one line that names its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import ListenAddress, parse
from edge.import_feed import Complete, Decimal, Encoding, FeedKind, Mode
from edge.model import PriceKind
from tests.edge.test_config import STORE, error_of

MINIMAL = 'price_source = "file"\n' + STORE
FEED = f'{MINIMAL}[[import.feed]]\nname = "a"\nkind = "items"\n'


def test_a_feed_is_read_whole() -> None:
    text = FEED + (
        'mode = "full"\nfolder = "/in"\npattern = "A*.txt"\ncomplete = "marker"\ndelimiter = "|"\nencoding = "windows-1252"\n'
        'decimal = ","\nhold_percent = 5\nkeep_days = 7\n'
        '[import.feed.columns]\nsku = "ArtNr"\nprice = " VK "\n"attribute:allergens" = "Allergene"\n'
    )
    config = parse(text, "shop.toml").imports
    (watched,) = config.watched
    assert config.feeds == (watched.feed,)
    feed = watched.feed
    assert (feed.kind, feed.mode, feed.delimiter, feed.encoding, feed.decimal) == (
        FeedKind.ITEMS,
        Mode.FULL,
        "|",
        Encoding.WINDOWS_1252,
        Decimal.COMMA,
    )
    assert feed.columns == {"sku": "ArtNr", "price": "VK", "attribute:allergens": "Allergene"}
    assert (watched.folder, watched.pattern, watched.complete, watched.keep_days) == (Path("/in"), "A*.txt", Complete.MARKER, 7)


def test_a_feed_without_a_folder_is_for_the_command_and_a_stock_list_may_change_everything() -> None:
    config = parse(FEED + '[[import.feed]]\nname = "b"\nkind = "stock"\n', "shop.toml").imports
    assert (config.watched, [feed.hold_percent for feed in config.feeds], config.poll_ms) == ((), [10.0, 100.0], 10_000)
    promo = parse(f'{MINIMAL}[[import.feed]]\nname = "p"\nkind = "prices"\nprice_kind = "promo"\n', "shop.toml").imports
    assert promo.feeds[0].price_kind is PriceKind.PROMO


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FEED.replace('"file"', '"hq"', 1), 'import.feed[1].kind: found "items", expected "stock" or "labels", or price_source = "file"'),
        (FEED + '[[import.feed]]\nname = "a"\nkind = "labels"\n', 'import.feed[2].name: found "a", expected another name'),
        (FEED + 'folder = "in"\n', 'import.feed[1].folder: found "in", expected an absolute path'),
        (FEED + 'folder = "/in"\n[[import.feed]]\nname = "b"\nkind = "labels"\nfolder = "/in"\n', "import.feed[2].folder"),
        (FEED + 'price_kind = "promo"\n', "import.feed[1].price_kind"),
        (FEED + 'delimiter = "ab"\n', "import.feed[1].delimiter"),
        (FEED + 'delimiter = "\\""\n', "import.feed[1].delimiter"),
        (FEED + "columns = { skuu = 1 }\n", "import.feed[1].columns.skuu: unknown column, expected one of sku"),
        (FEED + "columns = { price = 1 }\n", "import.feed[1].columns.sku: missing"),
        (FEED + 'columns = { sku = 1, price = "VK" }\n', "import.feed[1].columns: found headings and numbers"),
        (FEED + "columns = { sku = true }\n", "import.feed[1].columns.sku: found true"),
        (FEED + "columns = 3\n", "import.feed[1].columns"),
        (f"{MINIMAL}[import]\npoll_seconds = 0\n", "import.poll_seconds"),
        (f'{MINIMAL}[rest]\nlisten = "0.0.0.0:80"\n', "rest.listen: found"),
        (f'{MINIMAL}[rest]\nlisten = "10.0.0.5:80"\n', "rest.listen: found"),
        (f'{MINIMAL}[rest]\nsocket = "/x"\n[[lane]]\nid = "1"\nsocket = "/x"\n', "lane[1].socket: found"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_key(text: str, said: str) -> None:
    assert error_of(text).startswith(said)


def test_rest_is_off_unless_it_is_asked_for() -> None:
    off = parse(MINIMAL, "x").rest
    assert (off.listen, off.socket) == (None, None)
    asked = parse(f'{MINIMAL}[rest]\nlisten = "127.0.0.1:9465"\nsocket = "/run/x"\n', "x").rest
    assert (asked.listen, asked.socket, asked.requests_per_s) == (ListenAddress("127.0.0.1", 9465), Path("/run/x"), 20.0)
