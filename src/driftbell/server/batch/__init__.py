"""`POST /predict/batch`: JSON, Arrow and Parquet tables."""
