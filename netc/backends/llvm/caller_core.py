"""The LLVM IR that binds the thread which calls a program to a core while it runs, and frees it again.

In native code, as nothing can interrupt the call between the two: the host program's thread always gets its
mask back. It is bound only to a core of that mask.
"""

from __future__ import annotations

from netc.backends.llvm.sync_block import CONFIG

MASK_BYTES = 1024
"""Room for the mask of 8,192 cores; where there are more, the caller is not bound."""

CALLER_CORE_TEXT = f"""
define internal i1 @bind_caller(ptr %sync, ptr %mask) {{
entry:
  %get.p = getelementptr i64, ptr %sync, i64 {CONFIG + 10}
  %get = load ptr, ptr %get.p
  %free = icmp eq ptr %get, null
  br i1 %free, label %leave, label %ask
leave:
  ret i1 0
ask:
  %answer = call i32 %get(i32 0, i64 {MASK_BYTES}, ptr %mask)
  %known = icmp eq i32 %answer, 0
  br i1 %known, label %look, label %leave
look:
  %core.p = getelementptr i64, ptr %sync, i64 {CONFIG + 12}
  %core = load i64, ptr %core.p
  %word.at = lshr i64 %core, 6
  %bit.at = and i64 %core, 63
  %bit = shl i64 1, %bit.at
  %word.p = getelementptr i64, ptr %mask, i64 %word.at
  %word = load i64, ptr %word.p
  %common = and i64 %word, %bit
  %allowed = icmp ne i64 %common, 0
  br i1 %allowed, label %bind, label %leave
bind:
  %one = alloca [{MASK_BYTES} x i8], align 8
  call void @llvm.memset.p0.i64(ptr %one, i8 0, i64 {MASK_BYTES}, i1 false)
  %one.p = getelementptr i64, ptr %one, i64 %word.at
  store i64 %bit, ptr %one.p
  call void @set_caller_mask(ptr %sync, ptr %one)
  ret i1 1
}}

define internal void @set_caller_mask(ptr %sync, ptr %mask) {{
  %set.p = getelementptr i64, ptr %sync, i64 {CONFIG + 11}
  %set = load ptr, ptr %set.p
  %r = call i32 %set(i32 0, i64 {MASK_BYTES}, ptr %mask)
  ret void
}}

declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""
