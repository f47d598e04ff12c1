`GET /api/v1/audit` and `/api/v1/audit/export` (CSV, JSON): who did what, when, from where, how many bytes; kept for `store.audit_days`.
