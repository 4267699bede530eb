"""Check two data frames of your own Spark session: `pip install 'driftbell[spark]'`, and Java 17 or newer.

With SPARK_REMOTE=sc://HOST it runs by Spark Connect, without Java here.
"""

from pyspark.sql import SparkSession

import driftbell

spark = SparkSession.builder.appName("drift").getOrCreate()
orders = spark.range(600_000).selectExpr(
    "randn(1) * 10 + 50 AS amount", "element_at(array('Rome', 'Oslo'), int(id % 2 + 1)) AS city"
)
today = orders.selectExpr("amount * 1.2 AS amount", "city")

result = driftbell.check(orders, today)  # counted on the executors, since there are more than 200,000 rows
print(result)
