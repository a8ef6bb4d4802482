"""The predecessor's way, with what it did about AWS."""

from __future__ import annotations

import boto3

from benchmarks.client_original import Original


class OriginalWithAws(Original):
    """With the AWS clients that it made anew for each repository."""

    def _begin(self) -> None:
        boto3.resource("ec2", region_name="us-east-1")
        boto3.client("ssm", region_name="us-east-1")
