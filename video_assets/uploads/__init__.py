"""The edge uploader: video files of a watched folder onto a store, for months, unattended.

What is not there yet, is sent; what is under way, is gone on with; nothing here is needed to find that out again but
the folder and the store (or a checkpoint elsewhere): a watcher may be killed at any moment.
"""
