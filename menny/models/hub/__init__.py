"""Models from the Hugging Face hub: a download goes on in a process of its own, and is here when it is whole."""

from menny.models.hub.download import Download, DownloadProgress
from menny.models.hub.fetch import Job, remove_leftovers
from menny.models.hub.token import forget_token, has_token, keep_token

__all__ = ["Download", "DownloadProgress", "Job", "forget_token", "has_token", "keep_token", "remove_leftovers"]
