`http.compat = "zlm"` answers `getMediaList`, `isMediaOnline` and `close_streams` as ZLMediaKit does, for programs written for it; off by default, and an API token is needed.
