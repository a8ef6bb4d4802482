// A JavaScript action for the same job, as far as its first requests: inputs, a GitHub client, an EC2 client, one call each.
import { getInput } from "@actions/core";
import { getOctokit } from "@actions/github";
import { DescribeInstancesCommand, EC2Client } from "@aws-sdk/client-ec2";

const octokit = getOctokit(getInput("github-token"), { baseUrl: process.env.GITHUB_API_URL });
const ec2 = new EC2Client({ region: "us-east-1" });
const [owner, repo] = getInput("repository").split("/");
await octokit.rest.actions.listWorkflowRunsForRepo({ owner, repo, status: "queued" });
await ec2.send(new DescribeInstancesCommand({}));
