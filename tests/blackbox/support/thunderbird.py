"""Thunderbird without a window, driven through Marionette: its own code sets
up an account, sends, fetches and deletes."""

import json
import os
import shutil
import signal
import socket
import subprocess

from mailtest import clean_environment, free_port, wait_for

PROGRAM = "thunderbird"

# No look at the network but for ours, and nothing on its own account.
PREFERENCES = {
    "app.update.enabled": False,
    "browser.safebrowsing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "mail.biff.on_new_window": False,
    "mail.server.default.check_new_mail": False,
    "mail.server.default.download_on_biff": False,
    "mail.smtpserver.default.hello_argument": "[127.0.0.1]",
    "mailnews.start_page.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "",
}

# What each piece below begins with; the value it gives to done() is the
# result, and {"error": text} where it fails.
PRELUDE = """
const [args, done] = arguments;
const load = (name) => ChromeUtils.importESModule(
    `resource:///modules/${name}`);
const { MailServices } = load("MailServices.sys.mjs");
const account = () => MailServices.accounts.accounts.find(
    a => a.incomingServer.type == "pop3");
const inbox = () => account().incomingServer.rootFolder.getFolderWithFlags(
    Ci.nsMsgFolderFlags.Inbox);
const messages = () => [...inbox().messages].sort(
    (a, b) => a.messageKey - b.messageKey);
const finished = (status, value) => Components.isSuccessCode(status)
    ? done(value) : done({ error: "0x" + (status >>> 0).toString(16) });
(async () => {
%s
})().catch(error => done({ error: String(error) + "\\n" + error.stack }));
"""

TRUST = """
    Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
        .addCertFromBase64(args.certificate, "CT,,");
    done(true);
"""

# The account wizard's own steps behind "Configure manually": a trial login,
# then the account.
SET_UP = """
    const { AccountConfig } = load("accountcreation/AccountConfig.sys.mjs");
    const { ConfigVerifier } = load("accountcreation/ConfigVerifier.sys.mjs");
    const { CreateInBackend } = load("accountcreation/CreateInBackend.sys.mjs");
    const config = new AccountConfig();
    const common = {
        hostname: "localhost", username: args.user, password: args.password,
        socketType: Ci.nsMsgSocketType.SSL,
        auth: Ci.nsMsgAuthMethod.passwordCleartext,
    };
    Object.assign(config.identity,
        { realname: args.user, emailAddress: args.address });
    Object.assign(config.incoming, common, {
        type: "pop3", port: args.pop3_port, authAlternatives: [],
        loginAtStartup: false, downloadOnBiff: false, checkInterval: 600,
        leaveMessagesOnServer: true, deleteByAgeFromServer: false,
        deleteOnServerWhenLocalDelete: true,
    });
    Object.assign(config.outgoing, common,
        { type: "smtp", port: args.smtp_port, addThisServer: true });
    config.rememberPassword = true;
    const verifier = new ConfigVerifier(null, new AbortController().signal);
    await verifier.verifyConfig(config, false);
    await CreateInBackend.createAccountInBackend(config);
    done(MailServices.accounts.accounts.length);
"""

SEND = """
    const fields = Cc["@mozilla.org/messengercompose/composefields;1"]
        .createInstance(Ci.nsIMsgCompFields);
    fields.to = args.to;
    fields.subject = args.subject;
    fields.from = account().defaultIdentity.email;
    fields.body = args.body;
    const send = Cc["@mozilla.org/messengercompose/send;1"]
        .createInstance(Ci.nsIMsgSend);
    account().defaultIdentity.doFcc = false;
    send.createAndSendMessage(null, account().defaultIdentity, account().key,
        fields, false, false, Ci.nsIMsgSend.nsMsgDeliverNow, null,
        "text/plain", args.body, null, null, {
            QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener"]),
            onStartSending() {}, onSendProgress() {}, onStatus() {},
            onGetDraftFolderURI() {}, onTransportSecurityError() {},
            onSendNotPerformed(id, status) { finished(status, "not sent"); },
            onStopSending(id, status) { finished(status, "sent"); },
        }, "", null, Ci.nsIMsgCompType.New)?.catch?.(
            error => done({ error: String(error) }));
"""

FETCH = """
    MailServices.pop3.GetNewMail(null, {
        QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
        OnStartRunningUrl() {},
        OnStopRunningUrl(url, status) { finished(status,
            messages().map(message => message.mime2DecodedSubject)); },
    }, inbox(), account().incomingServer);
"""

READ = """
    const found = messages().find(
        message => message.mime2DecodedSubject == args.subject);
    const uri = inbox().getUriForMsg(found);
    const stream = Cc["@mozilla.org/scriptableinputstream;1"]
        .createInstance(Ci.nsIScriptableInputStream);
    let text = "";
    MailServices.messageServiceFromURI(uri).streamMessage(uri, {
        QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
        onStartRequest() {},
        onDataAvailable(request, input, offset, count) {
            stream.init(input);
            text += stream.readBytes(count);
        },
        onStopRequest(request, status) { finished(status, btoa(text)); },
    }, null, null, false, "", false);
"""

DELETE = """
    const found = messages().filter(
        message => message.mime2DecodedSubject == args.subject);
    inbox().deleteMessages(found, null, true, false, {
        QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
        onStartCopy() {}, onProgress() {}, setMessageKey() {},
        getMessageId() { return null; },
        onStopCopy(status) { finished(status, found.length); },
    }, false);
"""


def available():
    return shutil.which(PROGRAM) is not None


class Thunderbird:
    def __init__(self, test):
        self.test = test
        self.count = 0
        port = free_port()
        profile = test.fresh_path("thunderbird")
        profile.mkdir()
        preferences = {**PREFERENCES, "marionette.port": port}
        (profile / "user.js").write_text("".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in preferences.items()))
        self.log_file = profile / "log"
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "--headless", "--marionette", "--no-remote",
                 "--remote-allow-system-access", "--profile", profile],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
                env=clean_environment({"HOME": str(profile)}))
        test.addCleanup(self.stop)
        self.socket = wait_for(lambda: self.connect(port),
                               "Thunderbird to answer", 60)
        self.socket.settimeout(120)
        self.reader = self.socket.makefile("rb")
        self.read()     # its greeting
        self.call("WebDriver:NewSession", capabilities={})
        self.call("Marionette:SetContext", value="chrome")

    def connect(self, port):
        if self.process.poll() is not None:
            raise AssertionError(self.log_file.read_text("utf-8", "replace"))
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            return None

    def read(self):
        """A packet: its length in decimal, a colon, JSON."""
        length = b""
        while (octet := self.reader.read(1)) != b":":
            if not octet:
                raise AssertionError("Thunderbird ended: " + self.log_file
                                     .read_text("utf-8", "replace")[-2000:])
            length += octet
        return json.loads(self.reader.read(int(length)))

    def call(self, name, **parameters):
        self.count += 1
        packet = json.dumps([0, self.count, name, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(packet), packet))
        _, number, error, result = self.read()
        if error or number != self.count:
            raise AssertionError(f"{name}: {error}")
        return result

    def run(self, piece, **args):
        """Runs one of the pieces above; its result."""
        value = self.call("WebDriver:ExecuteAsyncScript",
                          script=PRELUDE % piece, args=[args],
                          scriptTimeout=90000, newSandbox=True)["value"]
        print("Thunderbird:", piece.strip().split("\n")[0], args, value)
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(value["error"])
        return value

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.socket.close()
