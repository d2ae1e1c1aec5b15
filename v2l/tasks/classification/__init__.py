"""words of labelled images and of a query ──► the label of the query."""
