/** Which of several is shown, with the way to those beside it. */
export function Stepper({
  what,
  index,
  count,
  onShow,
}: {
  what: string;
  index: number;
  count: number;
  onShow: (index: number) => void;
}) {
  if (count < 2) return null;
  return (
    <span class="stepper" role="group" aria-label={`${what} ${index + 1} of ${count}`}>
      <button
        type="button"
        class="small quiet"
        aria-label={`${what} before`}
        disabled={index === 0}
        onClick={() => onShow(index - 1)}
      >
        ‹
      </button>
      <span class="soft">
        {index + 1}/{count}
      </span>
      <button
        type="button"
        class="small quiet"
        aria-label={`${what} after`}
        disabled={index === count - 1}
        onClick={() => onShow(index + 1)}
      >
        ›
      </button>
    </span>
  );
}
