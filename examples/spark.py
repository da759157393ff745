"""A corpus over a Spark cluster with ``mapInPandas``: each Python worker opens the store once, rows with spans out.

Where the store is a folder, every machine needs a copy of it (``spark.addFile``) or a shared file system; or run
Chroma's server and give its URL. Spark repeats the partitions of a worker that dies, so write to a table that takes
each of them once.

Run it on this machine, or with ``spark-submit`` on a cluster; Spark 4 needs Java 17:

    pip install ruie-components pyspark pandas pyarrow
    python examples/spark.py
"""

import json
import os
import sys
from collections.abc import Iterator

import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from ruie_components.extraction.distributed import BatchExtractor

TEXTS = ["Fly me from Oslo to Lima.", "Is there a train from Lisbon to Rome?", "Book a table in Mexico City."]


def extract(documents: DataFrame, batches: BatchExtractor) -> DataFrame:
    """A data frame with ``id`` and ``text``, with a column ``result`` more: the row of each result as JSON."""

    def partition(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:  # the object came pickled; its store is opened here, with the first frame
            yield pd.DataFrame(batches(frame.to_dict("list")))

    return documents.mapInPandas(partition, schema="id long, text string, result string")


def main() -> None:
    """Extract cities from three texts in two partitions."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.master(os.environ.get("SPARK_MASTER", "local[2]")).appName("ruie").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        documents = spark.createDataFrame(list(enumerate(TEXTS)), "id long, text string").repartition(2)
        batches = BatchExtractor(
            os.environ.get("RUIE_STORE"),
            model=os.environ.get("RUIE_MODEL", "baseline"),
            options={"task": "NER", "labels": ["city"], "k": 4},
        )
        for row in sorted(extract(documents, batches).collect(), key=lambda row: row["id"]):
            entities = json.loads(row["result"])["extraction"].get("entities", [])
            print(row["id"], [(entity["text"], entity["start"], entity["end"]) for entity in entities])
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
