// npm btcpay-greenfield-node-client as a shop would use it. Arguments: phase, base, token, store, invoice.
const [phase, base, token, storeId, invoiceId] = process.argv.slice(2);
const { createRequire } = require('module');
const load = createRequire(process.env.MODULES + '/');
const client = load('btcpay-greenfield-node-client');
const { OpenAPI, InvoicesService, StoresService, WebhooksService, ApiKeysService, PaymentRequestsService } = client;
const { ServerInfoService, HealthService, UsersService, StorePaymentMethodsOnChainService: OnChain } = client;
const { NotificationsCurrentUserService: Notifications, MiscalleneousService: Misc } = client;
OpenAPI.BASE = base;
OpenAPI.TOKEN = token;

async function refused(promise) {
  try { await promise; } catch (error) { return { status: error.status, body: error.body }; }
  throw new Error('it was not refused');
}

async function setUp() {
  const out = {};
  out.health = await HealthService.healthGetHealth();
  out.info = await ServerInfoService.serverInfoGetServerInfo();
  out.key = await ApiKeysService.getApiKeysService();
  out.me = await UsersService.usersGetCurrentUser();
  out.languages = await Misc.langCodes();
  const store = await StoresService.postStoresService({ requestBody: { name: 'From node', speedPolicy: 'HighSpeed' } });
  out.stores = (await StoresService.storesGetStores()).map((each) => each.id);
  out.store = await StoresService.storesUpdateStore({
    storeId: store.id, requestBody: { ...store, name: 'Renamed', defaultCurrency: 'GLD' } });
  const where = { storeId: store.id, cryptoCode: 'GLD' };
  const requestBody = { enabled: true, default: true, derivationScheme: process.env.XPUB, label: 'cold' };
  out.preview = await OnChain.storeOnChainPaymentMethodsGetOnChainPaymentMethodPreview1({ ...where, requestBody });
  out.method = await OnChain.storeOnChainPaymentMethodsUpdateOnChainPaymentMethod({ ...where, requestBody });
  out.methodRead = await OnChain.storeOnChainPaymentMethodsGetOnChainPaymentMethod(where);
  const hook = await WebhooksService.postWebhooksService({ storeId: store.id, requestBody: {
    enabled: true, automaticRedelivery: true, url: 'http://127.0.0.1:9/hook',
    authorizedEvents: { everything: false, specificEvents: ['InvoiceSettled'] } } });
  out.hook = hook;
  out.hooks = await WebhooksService.webhokksGetWebhooks({ storeId: store.id });
  out.hookChanged = await WebhooksService.putWebhooksService({
    storeId: store.id, webhookId: hook.id, requestBody: { ...hook, enabled: false } });
  out.deliveries = await WebhooksService.getWebhooksService({ storeId: store.id, webhookId: hook.id, count: '5' });
  await WebhooksService.deleteWebhooksService({ storeId: store.id, webhookId: hook.id, requestBody: hook });
  out.noHook = await refused(WebhooksService.webhokksGetWebhook({ storeId: store.id, webhookId: hook.id }));
  out.bill = await PaymentRequestsService.paymentRequestsCreatePaymentRequest({
    storeId: store.id, requestBody: { amount: '3', currency: 'GLD', title: 'Rent' } });
  out.bills = await PaymentRequestsService.paymentRequestsGetPaymentRequests({ storeId: store.id });
  out.notifications = await Notifications.notificationsGetNotifications({});
  out.invoice = await InvoicesService.invoicesCreateInvoice({ storeId: store.id, requestBody: {
    amount: '1.50', currency: 'GLD', metadata: { orderId: 'node-1' },
    checkout: { speedPolicy: 'MediumSpeed', paymentMethods: ['GLD'], expirationMinutes: 30 } } });
  const one = { storeId: store.id, invoiceId: out.invoice.id };
  out.methods = await InvoicesService.invoicesGetInvoicePaymentMethods(one);
  out.updated = await InvoicesService.invoicesUpdateInvoice({ ...one, requestBody: { metadata: { orderId: 'node-2' } } });
  out.other = await InvoicesService.invoicesCreateInvoice({ storeId: store.id, requestBody: { amount: 2, currency: 'GLD' } });
  const other = { storeId: store.id, invoiceId: out.other.id };
  out.marked = await InvoicesService.invoicesMarkInvoiceStatus({ ...other, requestBody: { status: 'Invalid' } });
  await InvoicesService.invoicesArchiveInvoice(other);
  out.listed = (await InvoicesService.invoicesGetInvoices({ storeId: store.id })).map((each) => each.id);
  out.unarchived = await InvoicesService.invoicesUnarchiveInvoice(other);
  out.bad = await refused(InvoicesService.invoicesCreateInvoice({ storeId: store.id, requestBody: { amount: -1 } }));
  out.foreign = await refused(StoresService.storesGetStore({ storeId: 'nobody' }));
  return out;
}

async function lookAgain() {
  const one = { storeId, invoiceId };
  return {
    invoice: await InvoicesService.invoicesGetInvoice(one),
    methods: await InvoicesService.invoicesGetInvoicePaymentMethods(one),
  };
}

(phase === 'setup' ? setUp() : lookAgain()).then(
  (out) => console.log(JSON.stringify(out)),
  (error) => { console.error(error, JSON.stringify(error.body)); process.exit(1); });
