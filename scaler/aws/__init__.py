"""EC2, SSM and STS: the adapters, the credentials, and what AWS's errors mean."""
