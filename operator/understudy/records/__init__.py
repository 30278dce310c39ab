"""What is kept in a database: the ledger of budgets. The only process that writes there."""
