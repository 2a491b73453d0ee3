"""Judge rankings, embeddings and instructions by numbers: one noun a module, plain arrays and dictionaries in and out.

`runs` and `tasks` read files; `ranking`, `similarity`, `labels`, `triplets`, `following` and `pool` measure;
`bootstrap` says how sure a mean or a difference is; `search` and `exam` apply them to a search engine and to an
embedder; `table` and `report` show what came out. Knows records and numbers only: no model, no collection.
"""
