"""The embedded AWS: EC2, SSM and STS of one account and region, on botocore's own service models."""
