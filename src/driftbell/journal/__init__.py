"""Write-ahead journal: answered predictions on local disk, on their way to the store."""
