// What IAM would answer, by @cloud-copilot/iam-simulate: a list of {policies, action, resource, context} on standard
// input, a list of answers on standard output. It refuses an action that AWS does not have, a resource of a type that
// the action does not take and a context key that does not go with it: "invalid: ..." then, and never a guess.
import { runSimulation } from "@cloud-copilot/iam-simulate";

const ACCOUNT = "111122223333";

async function answer({ principal, policies, action, resource, context }) {
  const simulation = {
    identityPolicies: policies.map((policy, number) => ({ name: `policy ${number}`, policy })),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    request: {
      action,
      principal: principal ?? `arn:aws:iam::${ACCOUNT}:role/somebody`,
      resource: { resource, accountId: ACCOUNT },
      contextVariables: context,
    },
  };
  const response = await runSimulation(simulation, { simulationMode: "Strict" });
  if (response.resultType === "error") return `invalid: ${JSON.stringify(response.errors)}`;
  const results = response.resultType === "single" ? [response.result] : response.results;
  const strange = results.flatMap((result) => result.ignoredContextKeys ?? []);
  return strange.length ? `invalid: ${action} has no ${strange} on ${resource}` : response.overallResult;
}

let text = "";
for await (const chunk of process.stdin) text += chunk;
const answers = [];
for (const request of JSON.parse(text)) answers.push(await answer(request));
console.log(JSON.stringify(answers));
