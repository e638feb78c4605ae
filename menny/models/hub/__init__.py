"""Models from the Hugging Face hub: a search and a download each go on in a process of their own."""

from menny.models.hub.download import Download, DownloadProgress
from menny.models.hub.fetch import Job, remove_leftovers
from menny.models.hub.search import Choice, Hit, HubSearchResult, search
from menny.models.hub.token import forget_token, has_token, keep_token

__all__ = [
    "Choice",
    "Download",
    "DownloadProgress",
    "Hit",
    "HubSearchResult",
    "Job",
    "forget_token",
    "has_token",
    "keep_token",
    "remove_leftovers",
    "search",
]
