/**
 * Which questions are asked, and in which order: all of them, or so many, drawn by a seed in proportion to the sizes
 * of the tasks. The same tasks, number and seed give the same questions to every target.
 */
import { seededRandom, seedOf } from "../statistics/random.ts";
import type { Question, Task } from "../tasks/task.ts";

export interface Asked {
  task: Task;
  question: Question;
}

/** `n`: questions of all tasks together; absent, or more than there are: all. In the order of the files. */
export function chooseQuestions(
  tasks: readonly Task[],
  { n, seed }: { n?: number | undefined; seed: number },
): Asked[] {
  const total = tasks.reduce((sum, { questions }) => sum + questions.length, 0);
  const shares = n === undefined || n >= total ? undefined : sharesOf(tasks, n);
  return tasks.flatMap((task, i) => {
    const { questions } = task;
    if (!shares) return questions.map((question) => ({ task, question }));
    const order = questions.map((_, index) => index);
    // Each task's draw depends on nothing of the others: adding a task leaves the rest as it was.
    seededRandom(seedOf(seed, "questions", task.name)).shuffle(order);
    const chosen = order.slice(0, shares[i]).sort((a, b) => a - b);
    return chosen.map((index) => ({ task, question: questions[index]! }));
  });
}

/** n shared out in proportion, by largest remainders; ties go to the earlier task. */
function sharesOf(tasks: readonly Task[], n: number): number[] {
  const total = tasks.reduce((sum, { questions }) => sum + questions.length, 0);
  const exact = tasks.map(({ questions }) => (n * questions.length) / total);
  const shares = exact.map(Math.floor);
  const left = n - shares.reduce((sum, share) => sum + share, 0);
  const byRemainder = exact
    .map((share, index) => ({ index, remainder: share - Math.floor(share) }))
    .sort((a, b) => b.remainder - a.remainder || a.index - b.index);
  for (const { index } of byRemainder.slice(0, left)) shares[index]!++;
  return shares;
}

/** Of the sampling of one answer: from the run's seed and what is asked, not from when. */
export function seedOfQuestion(seed: number, { task, question }: Asked): number {
  return seedOf(seed, "answer", task.name, question.id);
}
