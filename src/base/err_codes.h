/* The stable error codes: ERR_CODE(symbol, name, exit status, summary, cause, cure). Included
 * several times, so it has no guard. A name once released is never reused for something else. Exit
 * statuses are doc CLI's: 1 failed, 2 usage, 3 not found, 4 exists or conflict, 5 denied, 6 remote
 * unreachable, 7 no capacity, 124 timed out. */
/* clang-format off */
ERR_CODE(NONE, "NONE", 1, "No particular code",
	"The message says all there is to say.", "Read the message; `--log-level debug` shows the steps before it.")
ERR_CODE(USAGE, "USAGE", 2, "The command line is wrong",
	"An unknown command or flag, a missing argument, or a value of the wrong form.", "See `viv COMMAND --help`.")
ERR_CODE(SYS, "SYS", 1, "The operating system refused an operation",
	"The message names the operation and the kernel's reason.", "See `viv doctor` for what this host can do.")
ERR_CODE(NOMEM, "NOMEM", 7, "Memory ran out",
	"The host or the control group of the caller has no memory left.", "Free memory, or raise the limit of the caller's control group.")
ERR_CODE(DENIED, "DENIED", 5, "Permission denied",
	"The caller lacks a right that this operation needs.", "Run it as root, or see `viv doctor` for what an ordinary user may do here.")
ERR_CODE(UNSUPPORTED, "UNSUPPORTED", 1, "This host or version cannot do that",
	"The kernel, its configuration or this version of Vivarium lacks the feature that the message names.", "See `viv doctor`; update the kernel, or leave the feature out.")
ERR_CODE(CT_EXISTS, "CT-EXISTS", 4, "A container of that name exists",
	"Names are unique below one state directory (--root).", "Choose another name, or remove the old one: viv runtime delete NAME.")
ERR_CODE(CT_NOT_FOUND, "CT-NOT-FOUND", 3, "No such container",
	"No container of that name is known below this state directory (--root).", "List them: viv runtime list. A container of another user or another --root is not visible.")
ERR_CODE(CT_STATE, "CT-STATE", 4, "The container is in the wrong state",
	"The operation needs a container in another state, for example a running one.", "See its state: viv runtime state NAME.")
ERR_CODE(CT_ID, "CT-ID", 2, "The container's name is malformed",
	"A name consists of letters, digits, '_', '+', '-' and '.', and is not '.' or '..'.", "Choose another name.")
ERR_CODE(SPEC_JSON, "SPEC-JSON", 2, "The configuration is not valid JSON",
	"config.json (or the file given) could not be parsed.", "The message names line and column; `viv runtime spec` writes a valid example.")
ERR_CODE(SPEC_VALUE, "SPEC-VALUE", 2, "The configuration contradicts the OCI runtime specification",
	"A field of config.json is missing, has the wrong type, or contradicts another.", "The message names the field; `viv runtime spec` writes a valid example.")
ERR_CODE(CT_ROOTFS, "CT-ROOTFS", 1, "The root file system cannot be used",
	"root.path is missing, no directory, or could not be mounted.", "Check root.path in config.json; it is relative to the bundle.")
ERR_CODE(CT_MOUNT, "CT-MOUNT", 1, "A mount of the container failed",
	"The source is missing, the file system type is unknown to the kernel, or an option was refused.", "The message names the mount; check its source and options.")
ERR_CODE(CT_EXEC, "CT-EXEC", 127, "The container's command cannot be executed",
	"process.args[0] does not exist in the root file system, is not executable, or its interpreter is missing.", "Check the path inside the root file system and PATH in process.env.")
ERR_CODE(CT_CWD, "CT-CWD", 1, "The container's working directory cannot be entered",
	"process.cwd is missing, no directory, or the user may not enter it.", "Create it in the root file system, or choose another.")
ERR_CODE(CT_HOOK, "CT-HOOK", 1, "A hook failed",
	"A program listed in hooks did not end with status 0, or took longer than its timeout.", "Run the hook by hand with the state JSON on standard input.")
ERR_CODE(CT_IDMAP, "CT-IDMAP", 1, "User or group ids cannot be mapped",
	"The mapping is refused by the kernel, or newuidmap/newgidmap are missing or not configured.", "Install uidmap, and give the user ranges in /etc/subuid and /etc/subgid.")
ERR_CODE(CG_UNAVAILABLE, "CG-UNAVAILABLE", 1, "Control groups cannot be used",
	"No control group file system is mounted, the needed controller is missing or not delegated, or it is read-only.", "See `viv doctor`; an ordinary user needs delegation by systemd (Delegate=yes).")
ERR_CODE(CG_LIMIT, "CG-LIMIT", 1, "A resource limit was refused",
	"The kernel refused the value: out of range, above the parent's, or the controller lacks it.", "The message names the file and the value; compare with the parent control group.")
ERR_CODE(SECCOMP, "SECCOMP", 1, "The system call filter cannot be loaded",
	"The profile names an unknown action or architecture, or the kernel refuses the filter.", "Check linux.seccomp in config.json.")
ERR_CODE(STATE_CORRUPT, "STATE-CORRUPT", 1, "Stored state cannot be read",
	"A file of the state directory is damaged or of a newer version.", "Remove what it describes with `delete --force`, or use the version that wrote it. A damaged store (state.db): move it away to begin anew, or salvage it with `sqlite3 state.db .recover`.")
ERR_CODE(STATE_CONFLICT, "STATE-CONFLICT", 4, "Someone else changed it first",
	"A compare-and-set transaction found another revision than it expected.", "Read again and retry; commands do this by themselves a bounded number of times.")
ERR_CODE(STATE_BUSY, "STATE-BUSY", 7, "The state store is busy",
	"Another process held the store's lock for longer than the timeout.", "Try again; if it persists, see which process holds it with `fuser`.")
ERR_CODE(STATE_COMPACTED, "STATE-COMPACTED", 4, "That part of the history is gone",
	"A watch asked for a revision that has been compacted.", "Read the present state, and watch from its revision.")
ERR_CODE(TIMEOUT, "TIMEOUT", 124, "It took too long",
	"The time limit of the operation passed.", "Raise the limit, or find out what it waits for with `viv why`.")
ERR_CODE(NOT_FOUND, "NOT-FOUND", 3, "No such thing",
	"What the message names does not exist.", "Check the name.")
ERR_CODE(PROTO, "PROTO", 1, "The other side broke the protocol",
	"A message was malformed, too long, or out of order.", "Use the same version on both sides.")
ERR_CODE(STATE_NEWER, "STATE-NEWER", 1, "The state store is of a newer version",
	"A newer version of Vivarium has written this store; this one does not know its format and has not touched it.", "Use the version that wrote it; versions do not downgrade a store.")
ERR_CODE(STATE_FULL, "STATE-FULL", 7, "There is no room for the state store",
	"The file system is full, or a quota or file size limit is reached. The change was not made; everything before it is kept.", "Free space where the store is, or raise the quota; then try again.")
ERR_CODE(STATE_READONLY, "STATE-READONLY", 5, "The state store cannot be written",
	"Its directory, its files or its file system are read-only for this user.", "Check owner and mode of the state directory, and whether its file system is mounted read-only.")
ERR_CODE(STATE_LIMIT, "STATE-LIMIT", 1, "A limit of the state store was reached",
	"A key, a value, a transaction or a result is larger than the store takes, or a transaction contradicts itself.", "The message names the limit; split the request, or read in pages.")
ERR_CODE(STATE_FUTURE, "STATE-FUTURE", 4, "That revision has not happened yet",
	"A read asked for a revision behind the newest one; often the store was replaced by an older copy.", "Read the present state, and go on from its revision.")
ERR_CODE(SETTINGS, "SETTINGS", 2, "The settings cannot be used",
	"A settings file is not YAML, has an unknown key, or a value that does not suit its key.", "The message names file and line; `viv settings` lists the keys, `viv settings set KEY VALUE` writes them.")
ERR_CODE(TAR_FORMAT, "TAR-FORMAT", 1, "The archive cannot be read",
	"The bytes are no tar archive, a header of it is damaged, or it ends in the middle of an entry.", "Get the archive again; compare its digest with what its source says.")
ERR_CODE(TAR_LIMIT, "TAR-LIMIT", 1, "An archive exceeds a limit",
	"A name, a header, an attribute list or a sparse map of the archive is larger than any real one.", "The message names the limit; make the archive again without what exceeds it.")
ERR_CODE(COMPRESSION, "COMPRESSION", 1, "Compressed data is damaged",
	"A gzip or zstd stream has a wrong check sum, an impossible code, or ends early.", "Get the file again; compare its digest with what its source says.")
ERR_CODE(LAYER_DIGEST, "LAYER-DIGEST", 1, "A layer is not what its image says",
	"The digest of the uncompressed layer differs from the DiffID in the image's configuration.", "Pull or load the image again; if it persists, the image was made wrongly at its source.")
ERR_CODE(LAYER_MISSING, "LAYER-MISSING", 3, "A layer is not here",
	"The image names a layer that the store does not have, or not in the form that is needed.", "Pull or load the image again.")
ERR_CODE(LAYER_IO, "LAYER-IO", 1, "A layer cannot be stored or read",
	"The file system of the store refused an operation: no space, no permission, no such feature.", "The message names the kernel's reason; see `viv doctor`.")
ERR_CODE(LAYER_PATH, "LAYER-PATH", 1, "A layer names a place that cannot be",
	"An entry of the layer leads outside of its root, or through something that is no directory.", "Do not use this image: no tool makes such layers by accident.")
ERR_CODE(LAYER_MOUNT, "LAYER-MOUNT", 1, "An image cannot be mounted",
	"The kernel refused the mount, or the caller may not mount here.", "The message names the step; see `viv doctor` for what this host can do.")
ERR_CODE(IMG_REFERENCE, "IMG-REFERENCE", 2, "The name of an image is malformed",
	"A name is [DOMAIN/]PATH[:TAG][@DIGEST]: lower-case letters, digits and single separators in the path; letters, digits, '_', '.' and '-' in the tag.", "Check the name; a digest is sha256: and 64 hexadecimal digits.")
ERR_CODE(IMG_NOT_FOUND, "IMG-NOT-FOUND", 3, "No such image",
	"No image of that name, ID or digest is stored for this user.", "List them: viv images. Get it: viv pull NAME. Images of another user are not visible.")
ERR_CODE(IMG_AMBIGUOUS, "IMG-AMBIGUOUS", 4, "Several images are meant",
	"The beginning of an ID fits more than one image, or an image has more than one name.", "Give more digits of the ID, or a name.")
ERR_CODE(IMG_PLATFORM, "IMG-PLATFORM", 2, "The name of a platform is malformed",
	"A platform is OS[/ARCHITECTURE[/VARIANT]] in the names of Go, such as linux/amd64 or linux/arm64/v8.", "Check the platform.")
ERR_CODE(IMG_NO_PLATFORM, "IMG-NO-PLATFORM", 3, "The image does not exist for that platform",
	"The image's index has no entry for the platform that was asked for, or the stored image is for another.", "The message lists what there is; choose one by --platform.")
ERR_CODE(IMG_MANIFEST, "IMG-MANIFEST", 1, "The description of an image is damaged",
	"An index, manifest or configuration is no JSON, lacks a field, contradicts another document, or is of a kind that is not supported.", "Get the image again; if it persists, it was made wrongly at its source.")
ERR_CODE(IMG_LAYER, "IMG-LAYER", 1, "A layer of that kind cannot be used",
	"The layer is foreign (not distributable), encrypted, or of an unknown media type.", "Use an image whose layers are tar, gzip or zstd.")
ERR_CODE(IMG_DIGEST, "IMG-DIGEST", 1, "Content is not what its digest says",
	"The bytes that came have another digest or size than was promised. Nothing of them was kept.", "Try again; if it persists, the source or something on the way changes the content.")
ERR_CODE(IMG_CORRUPT, "IMG-CORRUPT", 1, "A stored blob is damaged",
	"A file of the image store does not have the digest that its name says: a fault of disk or memory, or somebody changed it.", "Find all of them: viv image verify. Get them again: viv image verify --repair.")
ERR_CODE(IMG_BLOB, "IMG-BLOB", 3, "A blob is not here",
	"The image store does not have the content that the message names.", "Pull or load the image again.")
ERR_CODE(IMG_STORE, "IMG-STORE", 1, "The image store cannot be used",
	"A file operation below the store's directory failed: no space, no permission, a file system that lacks something.", "The message names the kernel's reason. Free space: viv image prune.")
ERR_CODE(IMG_IN_USE, "IMG-IN-USE", 4, "The image is in use",
	"It is mounted, an instance was made from it, or it has several names and was asked for by its ID.", "Remove what uses it first, or use --force where the message says so.")
ERR_CODE(IMG_ARCHIVE, "IMG-ARCHIVE", 1, "The archive holds no image",
	"The file is neither a docker-archive nor an OCI layout, is cut short, or lacks a part that it names.", "Make it again with `save`; the message names what is missing.")
ERR_CODE(DISK_FORMAT, "DISK-FORMAT", 1, "It is no valid disk image of that format",
	"The file is of another format, was cut short, or its header or tables contradict themselves.", "See what it is: viv disk info FILE. Name the right format with -f.")
ERR_CODE(DISK_CORRUPT, "DISK-CORRUPT", 1, "The disk image is damaged",
	"Tables of the image contradict each other; it was marked so, or the operation met the damage.", "Copy the image first, then: viv disk check -r all FILE.")
ERR_CODE(DISK_LOCKED, "DISK-LOCKED", 4, "The disk image is in use",
	"Another process (a virtual machine, qemu-img, another viv) holds a lock on the image that excludes this use.", "End that process (`fuser FILE` names it); `-U` reads all the same where an inconsistent view is acceptable.")
ERR_CODE(DISK_OPTION, "DISK-OPTION", 2, "An option of the disk image is wrong",
	"A format does not know the option, or the value does not suit it.", "See the options of a format: viv disk create -f FORMAT -o help.")
ERR_CODE(DISK_CHAIN, "DISK-CHAIN", 1, "The chain of backing images cannot be used",
	"A backing image is missing, the chain is circular, or longer than supported.", "See the chain: viv disk info --backing-chain FILE; `viv disk rebase -u` names another backing image.")
ERR_CODE(DISK_UNTRUSTED, "DISK-UNTRUSTED", 5, "An untrusted image names another file",
	"Images that are not trusted may not lead to other files of the host.", "Look at the names first (viv disk info), then open it as trusted.")
ERR_CODE(DISK_READONLY, "DISK-READONLY", 5, "The disk image cannot be written",
	"It was opened read-only, its file is, or its format can only be read.", "Check the file's mode, or convert it to a format that can be written.")
ERR_CODE(DISK_IO, "DISK-IO", 1, "Reading or writing the disk image failed",
	"The kernel or the server refused an access to the image's file.", "See the kernel's log (`dmesg`) for errors of the device; check free space and quota.")
ERR_CODE(DISK_FULL, "DISK-FULL", 7, "There is no room for the disk image",
	"The file system is full, or a quota or file size limit is reached.", "Free space; a half-made target has been removed.")
ERR_CODE(REG_UNREACHABLE, "REG-UNREACHABLE", 6, "The registry cannot be reached",
	"Its name does not resolve, nothing answers there, or the connection broke or stalled more often than is retried.", "Check the name, the network and the proxy (https_proxy, no_proxy). A pull continues where it was cut.")
ERR_CODE(REG_TLS, "REG-TLS", 6, "The registry's TLS connection is not trusted",
	"Its certificate is not signed by an authority that this host knows, is for another name or has expired, or the server speaks no TLS.", "Put its authority's certificate into /etc/viv/certs.d/REGISTRY/ca.crt. For a registry without TLS name it: --insecure REGISTRY, or \"insecure\": true in registries.json.")
ERR_CODE(REG_DENIED, "REG-DENIED", 5, "The registry refuses access",
	"It wants a login, the login is wrong or has expired, or that user may not do this to that repository.", "Log in again: viv login REGISTRY.")
ERR_CODE(REG_NOT_FOUND, "REG-NOT-FOUND", 3, "The registry does not have it",
	"There is no such repository, tag or digest; some registries say so, too, where a login is missing.", "Check the name; log in where the repository is private: viv login REGISTRY.")
ERR_CODE(REG_BUSY, "REG-BUSY", 6, "The registry is overloaded or broken",
	"It answered 429 (too many requests) or 5xx each time, although each attempt waited longer.", "Try again later; a pull continues where it was cut. Rate limits are often higher after viv login.")
ERR_CODE(REG_PROTOCOL, "REG-PROTOCOL", 1, "The registry's answer makes no sense",
	"It contradicts the OCI distribution specification, is too large, or leads around in circles. A proxy in between may be the reason.", "Check that the name is that of a registry; try without the proxy or the mirror.")
ERR_CODE(REG_DIGEST, "REG-DIGEST", 1, "The registry sent other bytes than it announced",
	"Digest or size of what arrived differ from what the manifest says: the registry, a mirror or a proxy damages data or lies. Nothing of it was kept.", "Try again, or without the mirror or proxy; the image may have to be pushed again.")
ERR_CODE(REG_AUTH, "REG-AUTH", 2, "Stored logins cannot be used",
	"config.json (or auth.json) is malformed, or its credential helper is missing or failed.", "The message names the file or the helper; viv logout and viv login write the entry again.")
ERR_CODE(REG_CONFIG, "REG-CONFIG", 2, "The registries' configuration cannot be used",
	"registries.json, or a certificate that belongs to a registry, is malformed or unreadable, or a registry is blocked there.", "The message names file and place.")
ERR_CODE(POLICY_FORMAT, "POLICY-FORMAT", 2, "The signature policy cannot be used",
	"policy.json is malformed, or asks for something that this version cannot check. Then nothing is accepted.", "The message names file and place; the format is that of containers-policy.json(5).")
ERR_CODE(POLICY_REJECTED, "POLICY-REJECTED", 5, "The policy does not accept this image",
	"policy.json rejects images of that name, or wants a signature that the image does not have.", "Ask who keeps the policy, or have the image signed with an accepted key.")
/* clang-format on */
