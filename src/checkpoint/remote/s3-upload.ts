/** Uploads to an object store: in one request where that does, else in parts, which show only when all are there. */
import { mapLimited } from "../../base/map-limited.ts";
import type { Source } from "../source.ts";
import { tidying } from "../stopping.ts";
import { RemoteFault } from "./client.ts";
import { type S3Place, s3Retrying } from "./s3-client.ts";
import { headObject } from "./s3-store.ts";

/** Of a part; what is no longer goes in one request. Tests have no time for long ones. */
function mostInOne(): number {
  return Number(process.env.CHIMERA_S3_PART_BYTES ?? "") || 16 << 20;
}

/** S3 takes 10,000 parts. */
const MOST_PARTS = 9000;
/** Parts under way. */
const UNDER_WAY = 4;

export interface UploadOptions {
  source: Source;
  /** Called between parts; throws to stop. */
  checkpoint?: (() => void) | undefined;
}

/** Throws CheckpointError, and what `checkpoint` throws; nothing of the object is there then. */
export async function uploadObject(place: S3Place, key: string, options: UploadOptions): Promise<void> {
  const { source } = options;
  if (source.byteLength > mostInOne()) return uploadParts(place, key, options);
  const bytes = new Uint8Array(source.byteLength);
  await source.read(bytes, 0);
  const work = { verb: "write", location: `s3://${place.bucket}/${key}` };
  const object = { Bucket: place.bucket, Key: key, Body: bytes, ContentLength: bytes.length };
  await s3Retrying(({ sdk, client }) => client.send(new sdk.PutObjectCommand(object)), work);
}

async function uploadParts(
  place: S3Place,
  key: string,
  { source, checkpoint }: UploadOptions,
): Promise<void> {
  const object = { Bucket: place.bucket, Key: key };
  const work = { verb: "write", location: `s3://${place.bucket}/${key}` };
  const partBytes = Math.max(mostInOne(), Math.ceil(source.byteLength / MOST_PARTS));
  const { UploadId } = await s3Retrying(
    ({ sdk, client }) => client.send(new sdk.CreateMultipartUploadCommand(object)),
    work,
  );
  if (!UploadId) throw new RemoteFault("bad-answer", `Cannot write "${work.location}": it begins no upload`);
  try {
    const count = Math.ceil(source.byteLength / partBytes);
    const numbers = Array.from({ length: count }, (_, i) => i + 1);
    const parts = await mapLimited(numbers, UNDER_WAY, async (PartNumber) => {
      checkpoint?.();
      const from = (PartNumber - 1) * partBytes;
      const Body = new Uint8Array(Math.min(partBytes, source.byteLength - from));
      await source.read(Body, from);
      const part = { ...object, UploadId, PartNumber, Body, ContentLength: Body.length };
      const { ETag } = await s3Retrying(
        ({ sdk, client }) => client.send(new sdk.UploadPartCommand(part)),
        work,
      );
      return { PartNumber, ETag };
    });
    checkpoint?.();
    await complete(place, key, { UploadId, parts, byteLength: source.byteLength });
  } catch (error) {
    await tidying(() => abortUpload(place, key, UploadId)).catch(() => {}); // the next build does it
    throw error;
  }
}

async function complete(
  place: S3Place,
  key: string,
  upload: { UploadId: string; parts: { PartNumber: number; ETag: string | undefined }[]; byteLength: number },
): Promise<void> {
  const { UploadId, parts: Parts } = upload;
  const object = { Bucket: place.bucket, Key: key };
  await s3Retrying(
    async ({ sdk, client }, again) => {
      try {
        await client.send(
          new sdk.CompleteMultipartUploadCommand({ ...object, UploadId, MultipartUpload: { Parts } }),
        );
      } catch (error) {
        // The answer to an earlier try may have got lost: then the upload is gone, and the object there.
        if (again === 0 || (error as { name?: string }).name !== "NoSuchUpload") throw error;
        if ((await headObject(place, key))?.byteLength !== upload.byteLength) throw error;
      }
    },
    { verb: "write", location: `s3://${place.bucket}/${key}` },
  );
}

/** Frees the parts of an upload that is not to be finished. */
export async function abortUpload(place: S3Place, key: string, UploadId: string): Promise<void> {
  await s3Retrying(
    async ({ sdk, client }) => {
      const upload = { Bucket: place.bucket, Key: key, UploadId };
      await client.send(new sdk.AbortMultipartUploadCommand(upload)).catch((error) => {
        if ((error as { name?: string }).name !== "NoSuchUpload") throw error;
      });
    },
    { verb: "write", location: `s3://${place.bucket}/${key}` },
  );
}

/** Pages of a listing of uploads; each has a thousand. What is behind is freed by a later build. */
const MOST_PAGES = 100;

/** Uploads under keys that begin so that were begun and not finished; none where that cannot be asked. */
export async function pendingUploads(
  { bucket }: S3Place,
  start: string,
): Promise<{ key: string; id: string }[]> {
  const work = { verb: "list", location: `s3://${bucket}/${start}` };
  const found: { key: string; id: string }[] = [];
  const begin = { Bucket: bucket, Prefix: start };
  try {
    let from = {};
    for (let page = 0; page < MOST_PAGES; page++) {
      const answer = await s3Retrying(
        ({ sdk, client }) => client.send(new sdk.ListMultipartUploadsCommand({ ...begin, ...from })),
        work,
      );
      for (const { Key, UploadId } of answer.Uploads ?? [])
        if (Key && UploadId) found.push({ key: Key, id: UploadId });
      const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = answer;
      if (!IsTruncated || KeyMarker === undefined) break;
      from = { KeyMarker, ...(UploadIdMarker === undefined ? {} : { UploadIdMarker }) };
    }
  } catch (error) {
    // A right of its own, and a request that some stores do not know.
    if (!(error instanceof RemoteFault) || error.isPassing) throw error;
  }
  return found;
}
