"""Parquet files as pyarrow writes them in its many ways, and as Hugging Face's datasets writes a set of pictures:

    python tools/goldens/parquet/generate.py core/data/parquet/testdata plugins/datasets/hf-parquet/testdata
                                                                        (pyarrow 26.0.1, datasets 5.2.0, Pillow 13.0.0)

The first folder gets one file for each way and want.json: what each cell holds, as pyarrow itself reads it back. The second
gets the files of a set of two splits, and of sets whose pictures are bytes, paths or both.
"""
import hashlib, io, json, os, random, sys

import pyarrow as pa, pyarrow.parquet as pq
from PIL import Image

cells, sets = sys.argv[1:3]
for d in (cells, sets):
    os.makedirs(d, exist_ok=True)
r = random.Random(13)
N = 60


def png(i):
    out, m = io.BytesIO(), Image.new("RGB", (4, 4))
    m.putdata([(i, 60 * y, 60 * x) for y in range(4) for x in range(4)])
    m.save(out, "PNG")
    return out.getvalue()


blobs = [None if i % 7 == 3 else bytes([i]) * r.randint(0, 90) for i in range(N)]
texts = [None if i % 11 == 5 else f"caption {i} é猫" for i in range(N)]
lists = [None if i % 13 == 4 else [f"{i}.{k}" if k != 2 else None for k in range(i % 5)] for i in range(N)]
records = [[{"raw": f"{i} raw {k}", "sentid": k} for k in range(i % 4)] for i in range(N)]
table = pa.table({
    "blob": pa.array(blobs, pa.binary()),
    "image": pa.array([None if i % 9 == 8 else {"bytes": blobs[i], "path": f"{i}.png" if i % 2 else None} for i in range(N)],
                      pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    "same": pa.array([b"one" * 30 if i % 3 else b"other" * 20 for i in range(N)], pa.binary()),
    "text": pa.array(texts, pa.string()),
    "list": pa.array(lists, pa.list_(pa.string())),
    "records": pa.array(records, pa.list_(pa.struct([("raw", pa.string()), ("sentid", pa.int64())]))),
    "number": pa.array([i * 3 - 7 for i in range(N)], pa.int32()),
    "real": pa.array([i / 4 for i in range(N)], pa.float64()),
    "truth": pa.array([i % 2 == 0 for i in range(N)], pa.bool_()),
})
ways = {
    "plain": dict(use_dictionary=False, compression="NONE"),
    "pyarrow": dict(),  # snappy, dictionaries, no page index
    "groups": dict(row_group_size=17, compression="zstd"),
    "pages": dict(data_page_size=64, write_batch_size=4, use_dictionary=False, compression="gzip"),
    "pages2": dict(data_page_size=64, write_batch_size=4, use_dictionary=False, data_page_version="2.0", compression="brotli", row_group_size=25),
    "index": dict(data_page_size=64, write_batch_size=4, use_dictionary=False, write_page_index=True, compression="lz4"),
    "mixed": dict(data_page_size=64, write_batch_size=4, dictionary_pagesize_limit=200, row_group_size=30),
    "delta": dict(use_dictionary=False, column_encoding={"blob": "DELTA_LENGTH_BYTE_ARRAY", "text": "DELTA_BYTE_ARRAY"}, data_page_size=64,
                  write_batch_size=4),
    "checked": dict(write_page_checksum=True, data_page_size=64, write_batch_size=4, use_dictionary=False),
}
for name, how in ways.items():
    pq.write_table(table, f"{cells}/{name}.parquet", **how)


def told(x):
    if x is None:
        return None
    return hashlib.sha256(x).hexdigest()[:16]


read = pq.read_table(f"{cells}/plain.parquet").to_pydict()
flat = lambda v: [] if v is None else [str(v).lower() if isinstance(v, bool) else "%g" % v if isinstance(v, float) else str(v)]
want = {
    "rows": N,
    "bytes": {"blob": [told(b) for b in read["blob"]], "image.bytes": [told(x and x["bytes"]) for x in read["image"]],
              "same": [told(b) for b in read["same"]]},
    "texts": {
        "text": [flat(t) for t in read["text"]], "list": [[t for t in l or [] if t is not None] for l in read["list"]],
        "records": [[x["raw"] for x in l] for l in read["records"]], "records.sentid": [[str(x["sentid"]) for x in l] for l in read["records"]],
        "image.path": [flat(x and x["path"]) for x in read["image"]], "number": [flat(v) for v in read["number"]],
        "real": [flat(v) for v in read["real"]], "truth": [flat(v) for v in read["truth"]],
    },
}
json.dump(want, open(f"{cells}/want.json", "w"), ensure_ascii=False, separators=(",", ":"))

# Pictures of a row group in one dictionary of over 1 MiB when it is decoded, of which little is stored.
r2 = random.Random(14)
line = bytes(r2.randrange(256) for _ in range(2000))
large = [bytes([i]) * (20 * i) + line[: 37 * i] * (1 + i % 5) + bytes(r2.randrange(256) for _ in range(i * 11 % 1500)) + bytes(5000) for i in range(50)]
pq.write_table(pa.table({"blob": pa.array(large, pa.binary())}), f"{cells}/large.parquet")
json.dump([told(b) for b in large], open(f"{cells}/large.json", "w"))

# A set as datasets' push_to_hub and to_parquet write it.
import datasets

features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string"), "alt": datasets.List(datasets.Value("string")),
                              "label": datasets.ClassLabel(names=["cat", "dog", "a fox"])})


def rows(lo, hi):
    return {"image": [{"bytes": png(i), "path": f"{i:03d}.png"} for i in range(lo, hi)],
            "caption": [f"picture {i}" if i != 5 else "" for i in range(lo, hi)], "alt": [[f"alt {i} {k}" for k in range(i % 3)] for i in range(lo, hi)],
            "label": [i % 3 if i % 4 else None for i in range(lo, hi)]}


for name, lo, hi in (("train-00000-of-00002", 0, 9), ("train-00001-of-00002", 9, 16), ("test-00000-of-00001", 16, 20)):
    datasets.Dataset.from_dict(rows(lo, hi), features=features).to_parquet(f"{sets}/{name}.parquet", batch_size=4)

# Pictures as bytes alone, as paths, and as sentences of Karpathy's kind.
os.makedirs(f"{sets}/pictures", exist_ok=True)
for i in range(3):
    open(f"{sets}/pictures/{i}.png", "wb").write(png(30 + i))
pq.write_table(pa.table({"jpg": [png(i) for i in range(40, 43)], "txt": ["a", "b", "c"]}), f"{sets}/bytes.parquet")
pq.write_table(pa.table({"image": [f"pictures/{i}.png" for i in (0, 1, 2, 9)], "caption": ["a", "b", "c", "d"]}), f"{sets}/paths.parquet")
broken = [png(50), None, png(51)[:40], b"", png(52), png(53)]
pq.write_table(pa.table({"image": pa.array([{"bytes": b, "path": None} for b in broken], pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
                         "sentences": pa.array([[{"raw": f"s{i} {k}", "sentid": k} for k in range(2 if i != 4 else 0)] for i in range(6)])}),
               f"{sets}/broken.parquet", use_dictionary=False)
