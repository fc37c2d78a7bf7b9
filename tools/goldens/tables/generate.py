"""Tables in every dialect that datasets/csv reads, and what pandas makes of them, as OpenCLIP reads its tables:

    python tools/goldens/tables/generate.py core/data/table/testdata/pandas.json.gz      (pandas 3.1.1)

Each table has the rows that are to be read and the lines that are to be refused. Of tables that are well-formed
("read") the rows are those of pandas. Of damaged ones ("refuse") they are those that were written, without the damaged;
pandas refuses most of these tables whole. "tab" are tables without quoting whose cells begin with quotes, which
pandas drops: the rows are those that were written, and pandas' where no cell begins with a quote.
"""
import csv, gzip, io, json, random, sys

import pandas as pd

r = random.Random(20)
WORDS = ["a", "photo", "of", "the", "red", "Fuchs", "naïve", "猫", "🦊", "5\"", "\"big\"", "it's", "x;y", "a|b", "=1+1", "#1", "\\", "é", "NA", "null", "007", "1e5", "''", "\u00a0z"]


def words(extra=()):
    return " ".join(r.choice(WORDS + list(extra)) for _ in range(r.randint(0, 5))) + r.choice(WORDS)


def pandas(data, sep):
    try:
        t = pd.read_csv(io.BytesIO(data), sep=sep, dtype=str, keep_default_na=False)
        return [[x.strip(), y.strip()] for x, y in zip(t["image"], t["caption"])]
    except Exception as e:
        return str(e).strip()[:100]


def table(rows, sep, end, mark, quoting):
    order = r.choice([["image", "caption"], ["caption", "image"], ["id", "image", "caption"], ["image", "caption", "label"]])
    out = io.StringIO()
    if quoting is None:
        for cells in [order] + [[{"image": i, "caption": c}.get(k, "7") for k in order] for i, c in rows]:
            out.write(sep.join(cells) + end)
    else:
        w = csv.writer(out, delimiter=sep, lineterminator=end, quoting=quoting)
        w.writerow(order)
        for i, c in rows:
            w.writerow([{"image": i, "caption": c}.get(k, "7") for k in order])
    text = out.getvalue()
    if r.random() < .3:
        text = text[: -len(end)]
    return (b"\xef\xbb\xbf" if mark else b"") + text.encode()


def dialect():
    return r.choice(",,\t;|"), r.choice(["\n", "\n", "\r\n", "\r"]), r.random() < .2


def image(i):
    return f"p{i}/{r.choice(['a', 'b c', 'ü'])}.{r.choice(['png', 'jpg', 'JPEG'])}"


tables = []
for _ in range(150):  # written by a program
    sep, end, mark = dialect()
    rows = [(image(i), words([sep, ",", "\r\n" if end == "\r\n" else end, "\"", "\"\"", f"\"{sep}", ".png"])) for i in range(r.randint(1, 12))]
    data = table(rows, sep, end, mark, r.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    tables.append({"sort": "read", "data": data.decode(), "rows": pandas(data, sep), "refused": []})
for _ in range(100):  # written by hand, without quoting
    sep, end, mark = dialect()
    rows = [(image(i), words()) for i in range(r.randint(1, 12))]
    rows = [(i, c.replace(sep, "").lstrip('"').strip() or "x") for i, c in rows]
    data = table(rows, sep, end, mark, None)
    blank = r.choice([b"", b"\n", b"   \n"]) if end == "\n" else b""
    data = data.replace(b"\np1/", b"\n" + blank + b"p1/", 1)
    tables.append({"sort": "read", "data": data.decode(), "rows": pandas(data, sep), "refused": []})
for _ in range(100):  # tabs, without quoting, with cells that begin with a quote
    _, end, mark = dialect()
    rows = []
    for i in range(r.randint(2, 12)):
        c = words().replace("\t", "").strip()
        if r.random() < .4:
            c = '"' + c
        if len(c) > 1 and c[0] == '"' and c[-1] == '"' and c[1:-1].replace('""', "").count('"') == 0:
            c += "."  # all in quotes: that is a quoted cell
        rows.append((image(i), c))
    data = table(rows, "\t", end, mark, None)
    got = pandas(data, "\t")
    want = [[i, c] for i, c in rows]
    if not any(c[0] == '"' for _, c in rows):
        assert got == want, (got, want)
    tables.append({"sort": "tab", "data": data.decode(), "rows": want, "refused": []})
whole = 0
for _ in range(250):  # damaged
    sep, end, _ = dialect()
    while sep == "\t":
        sep, end, _ = dialect()
    order = r.choice([["image", "caption"], ["caption", "image"], ["image", "caption", "label"]])
    out, rows, refused = [sep.join(order).encode()], [], []
    for i in range(r.randint(3, 14)):
        name = image(i)
        c = words([",", '""', sep]).strip()
        q = lambda t: '"' + t.replace('"', '""') + '"' if t[:1] == '"' or sep in t else t
        cells = {"image": name.encode(), "caption": q(c).encode(), "label": b"7"}
        damage = r.random() < .25 and r.choice(["many", "open", "behind", "utf8", "nul", "few"])
        if damage == "many":
            cells["caption"] = f"one{sep} two".encode()
        elif damage == "open":
            cells["caption"] = ('"' + c.replace('"', "").replace(sep, "")).encode()
        elif damage == "behind":
            cells["caption"] = f'"bad{sep}"quote'.encode()
        elif damage == "utf8":
            cells["caption"] = b"caf\xe9 noir"
        elif damage == "nul":
            cells["caption"] = b"x\0y"
        line = sep.encode().join(cells[k] for k in order)
        if damage == "few":
            line = cells["image"]
        out.append(line)
        if damage:
            refused.append(len(out))
        else:
            rows.append([name, c])
    data = end.encode().join(out) + end.encode()
    whole += isinstance(pandas(data, sep), str)
    tables.append({"sort": "refuse", "data": data.decode("latin-1"), "rows": rows, "refused": refused})
print(f"pandas {pd.__version__}: {len(tables)} tables; of the 250 damaged ones pandas refuses {whole} whole")
with open(sys.argv[1], "wb") as f, gzip.GzipFile(fileobj=f, mode="wb", mtime=0) as z:
    z.write(json.dumps(tables, ensure_ascii=False).encode())
