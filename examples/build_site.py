"""Put a small web site into a directory: the pages of examples/site/, and two larger files made on the spot.

    python examples/build_site.py /tmp/site
    python -m http.server --directory /tmp/site 8000

The files are the same on every machine and in every run.
"""

import json
import shutil
import sys
from pathlib import Path

PAGES = Path(__file__).resolve().parent / "site"
KINDS = ("tea", "coffee", "cocoa", "sugar", "salt", "pepper", "rice", "flour", "oats", "beans")
GRADES = ("small", "medium", "large", "family")


def products(count: int) -> list[dict[str, str | int]]:
    """Return `count` products, each like no other."""
    return [
        {
            "id": number,
            "name": f"{GRADES[number % len(GRADES)]} {KINDS[number % len(KINDS)]} no. {number}",
            "cents": 99 + number * 37 % 4900,
            "stock": number * 7919 % 250,
        }
        for number in range(1, count + 1)
    ]


def build(target: Path) -> list[Path]:
    """Fill the directory `target` (made if it is not there) and return the files in it."""
    shutil.copytree(PAGES, target, dirs_exist_ok=True)
    rows = [",".join(map(str, product.values())) for product in products(6000)]
    (target / "catalogue.csv").write_text("id,name,cents,stock\n" + "\n".join(rows) + "\n")
    stock = {str(product["name"]): product["stock"] for product in products(900)}
    (target / "stock.json").write_text(json.dumps(stock, indent=1) + "\n")
    return sorted(path for path in target.rglob("*") if path.is_file())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: build_site.py DIRECTORY")
    for path in build(Path(sys.argv[1])):
        print(f"{path.stat().st_size:8} {path}")
