// The products of INT8 weights with relaxed SIMD: for engines that have it. Shares the memory of the module of
// assembly-inference/, which has the same function without. The bits are the same.

export { linearInt8 } from "../assembly-inference/int8";
