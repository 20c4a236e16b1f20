"""A mail server (aiosmtpd) for the tests of the notifier, which can be made to refuse, to wait and to die.

Each mail that it takes is appended to FOLDER/taken.jsonl and synced before it is answered for. What it does is told by options
and by the local part of the recipient:

    refuse@     550 to the recipient             late-refuse@  554 to the mail
    busy@       451 to the recipient, always     grey@         451 to the recipient, the first two times
    hang-up@    ends the connection on DATA      later@        452 to the mail, the first time
"""

import argparse
import asyncio
import datetime
import json
import os
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--tls", choices=["none", "starttls", "implicit"], default="none")
parser.add_argument("--login", help="user:password, without which no mail is taken")
parser.add_argument("--die-before-250", type=int, default=0, help="dies when so many mails are taken, without an answer to the last")
parser.add_argument("--die-after-250", type=int, default=0, help="dies when so many mails are taken and answered for")
parser.add_argument("--refuse-sender", action="store_true")
parser.add_argument("--refuse-all", action="store_true", help="421 to every connection")
options = parser.parse_args()
taken = 0
connections = 0


def take(envelope, session):
    global taken
    taken += 1
    mail = {
        "from": envelope.mail_from,
        "to": envelope.rcpt_tos,
        "content": envelope.original_content.decode("latin-1"),
        "connection": session.number,
        "tls": session.ssl is not None or options.tls == "implicit",
        "login": bool(session.authenticated),
    }
    with open(os.path.join(options.folder, "taken.jsonl"), "a") as file:
        file.write(json.dumps(mail) + "\n")
        file.flush()
        os.fsync(file.fileno())


class Handler:
    def __init__(self):
        self.tries = {}

    def first(self, to, times):
        self.tries[to] = self.tries.get(to, 0) + 1
        return self.tries[to] <= times

    async def handle_MAIL(self, server, session, envelope, address, mail_options):
        if options.refuse_sender:
            return "550 5.7.1 you are not allowed to send as this sender"
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        name = address.split("@")[0]
        if name == "refuse":
            return "550 5.1.1 no such user here"
        if name == "busy" or name == "grey" and self.first(address, 2):
            return "451 4.7.1 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        to = envelope.rcpt_tos[0]
        name = to.split("@")[0]
        if name == "late-refuse":
            return "554 5.6.0 the text is not wanted here"
        if name == "later" and self.first(to, 1):
            return "452 4.3.1 no room"
        if name == "hang-up":
            server.transport.abort()
            return "451 unheard"
        take(envelope, session)
        if taken == options.die_before_250:
            os._exit(9)
        return "250 OK"


class Server(SMTP):
    def _create_session(self):
        global connections
        connections += 1
        session = super()._create_session()
        session.number = connections
        return session

    async def _handle_client(self):
        if options.refuse_all:
            await self.push("421 4.3.2 closing down")
            self.transport.close()
            return
        await super()._handle_client()

    async def smtp_DATA(self, arg):
        await super().smtp_DATA(arg)
        # The answer is with the kernel, which sends it whatever becomes of this process.
        if taken and taken == options.die_after_250:
            await self._writer.drain()
            os._exit(9)


def certificates():
    """An authority of our own in FOLDER/ca.pem, and the server's certificate by it, made once."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    paths = [os.path.join(options.folder, name) for name in ("ca.pem", "cert.pem", "key.pem")]
    if os.path.exists(paths[2]):
        return paths[1:]
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject, key):
        built = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("Test CA"))
        built = built.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return built.not_valid_before(now - day).not_valid_after(now + day)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate("Test CA", ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(ca_key, hashes.SHA256())
    # Not for 127.0.0.1, which is another host to whoever checks.
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    cert = certificate("localhost", key).add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path, data in zip(paths, (ca.public_bytes(pem), cert.public_bytes(pem), secret)):
        with open(path, "wb") as file:
            file.write(data)
    return paths[1:]


def login(server, session, envelope, mechanism, data):
    wanted = options.login.split(":")
    is_right = isinstance(data, LoginPassword) and [data.login.decode(), data.password.decode()] == wanted
    return AuthResult(success=is_right, handled=False)


async def main():
    loop = asyncio.get_running_loop()
    settings = {"hostname": "mail.test", "enable_SMTPUTF8": False, "loop": loop}
    context = None
    if options.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificates())
    if options.tls == "starttls":
        settings.update(tls_context=context, require_starttls=True)
    if options.login:
        # Credentials in the clear are what some tests are about; the library warns of it.
        warnings.simplefilter("ignore")
        settings.update(authenticator=login, auth_required=True, auth_require_tls=options.tls == "starttls")
    handler = Handler()
    implicit = context if options.tls == "implicit" else None
    server = await loop.create_server(lambda: Server(handler, **settings), "127.0.0.1", options.port, ssl=implicit, reuse_address=True)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Ends with the test that started it.
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
